import assert from "node:assert/strict";
import { createPublicKey, type JsonWebKeyInput, verify } from "node:crypto";
import { describe, test } from "node:test";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import type { Pool } from "pg";
import { authOptions } from "@/lib/auth-options";
import { readSettings } from "@/lib/settings";

const ORIGIN = "https://tasks.example.org";
const account = { name: "Ada", email: "ada@example.org", password: "correct horse battery" };

type Tables = Record<"user" | "session" | "account" | "verification" | "jwks", object[]>;
const emptyTables = (): Tables => ({ user: [], session: [], account: [], verification: [], jwks: [] });

let sites = 0;

/** The application's authentication on tables in memory, with a browser's cookies. */
function site(tables: Tables, secret: string, env: Record<string, string> = {}, cookie = "") {
  const settings = readSettings({ DATABASE_URL: "postgresql://frontend:k3jf83hf@database/app", BETTER_AUTH_URL: ORIGIN, BETTER_AUTH_SECRET: secret, LOG_LEVEL: "error", ...env });
  const auth = betterAuth({ ...authOptions(settings, undefined as unknown as Pool), logger: { disabled: true }, database: memoryAdapter(tables) });
  const address = `192.0.2.${++sites}`; // attempts are counted by address, for all sites of the process
  const request = async (path: string, body?: object) => {
    const headers = new Headers({ origin: ORIGIN, cookie, "content-type": "application/json", "x-forwarded-for": address });
    const response = await auth.handler(new Request(`${ORIGIN}/api/auth${path}`, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) }));
    const set = response.headers.getSetCookie().map((each) => each.split(";")[0] ?? "");
    if (set.length > 0) cookie = set.join("; ");
    return { status: response.status, cookies: response.headers.getSetCookie(), body: (await response.json()) as Record<string, unknown> };
  };
  return Object.assign(request, { cookie: () => cookie });
}

interface Token {
  header: Record<string, unknown>;
  payload: Record<string, unknown>;
  signed: Buffer;
  signature: Buffer;
}

function decode(token: unknown): Token {
  const [header = "", payload = "", signature = ""] = String(token).split(".");
  const json = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString()) as Record<string, unknown>;
  return { header: json(header), payload: json(payload), signed: Buffer.from(`${header}.${payload}`), signature: Buffer.from(signature, "base64url") };
}

const OLD = "nq8Yd0mN2xkVt5cWz7Lr4Pj9sBf3HgA6";
const NEW = "Zk3mR9vTq1LxW5yB8nC2dF6gH4jK7pS0";
const OTHER = "Wm5uX2sPz8QeV4tY1rN6bG9kJ3hL7cD0";

describe("authentication", () => {
  test("issues a token that says who, for whom and for how long, and nothing else", async () => {
    const request = site(emptyTables(), OLD);
    const signedUp = await request("/sign-up/email", account);
    assert.equal(signedUp.status, 200);
    for (const attribute of [/^__Secure-/, /; Secure/, /; HttpOnly/, /; SameSite=Lax/]) assert.match(signedUp.cookies.join(), attribute);

    const { header, payload, signed, signature } = decode((await request("/token")).body.token);
    assert.equal(header.alg, "EdDSA");
    assert.deepEqual(Object.keys(payload).sort(), ["aud", "exp", "iat", "iss", "sub"]);
    assert.equal(payload.iss, ORIGIN);
    assert.equal(payload.aud, ORIGIN);
    assert.equal(payload.sub, (signedUp.body.user as { id: string }).id);
    assert.equal(Number(payload.exp) - Number(payload.iat), 15 * 60);

    const { keys } = (await request("/jwks")).body as { keys: Record<string, unknown>[] };
    const key = keys.find(({ kid }) => kid === header.kid);
    assert.ok(key && !("d" in key), "published without its private half");
    assert.ok(verify(null, signed, createPublicKey({ key, format: "jwk" } as unknown as JsonWebKeyInput), signature));
  });

  test("a change of the secret ends sessions, keeps old tokens verifiable, and can be taken back", async () => {
    const tables = emptyTables();
    const before = site(tables, OLD);
    await before("/sign-up/email", account);
    const old = decode((await before("/token")).body.token).header.kid;

    const after = site(tables, NEW);
    assert.equal((await after("/token")).status, 401);
    assert.equal((await after("/sign-in/email", account)).status, 200);
    const fresh = decode((await after("/token")).body.token).header.kid;
    assert.notEqual(fresh, old);
    const published = ((await after("/jwks")).body.keys as { kid: string }[]).map(({ kid }) => kid);
    assert.deepEqual(published.sort(), [old, fresh].sort());

    assert.equal(decode((await before("/token")).body.token).header.kid, old, "the release with the old secret goes on");
  });

  test("a new version of the secret keeps sessions and keys, and lets the release before it go on", async () => {
    const tables = emptyTables();
    const before = site(tables, OLD);
    await before("/sign-up/email", account);
    const old = decode((await before("/token")).body.token).header.kid;

    const after = site(tables, "", { BETTER_AUTH_SECRET: "", BETTER_AUTH_SECRETS: `2:${NEW},1:${OLD}` }, before.cookie());
    const token = await after("/token");
    assert.equal(token.status, 200, "the old cookie is a session still");
    assert.equal(decode(token.body.token).header.kid, old, "the key that the old secret encrypted is opened");
    assert.equal((await after("/sign-in/email", account)).status, 200);
    const cookie = after.cookie();
    assert.equal((await site(tables, NEW, {}, cookie)("/get-session")).body?.session !== undefined, true, "what is signed now, the new secret signed");

    assert.equal(decode((await before("/token")).body.token).header.kid, old, "the release with the old secret goes on");
    const retired = site(tables, "", { BETTER_AUTH_SECRET: "", BETTER_AUTH_SECRETS: `3:${OTHER},2:${NEW}` }, before.cookie());
    assert.equal((await retired("/token")).status, 401, "a retired version opens nothing");
  });

  test("a cookie that nobody's secret signed stays refused", async () => {
    const tables = emptyTables();
    const forger = site(tables, OTHER);
    await forger("/sign-up/email", account);
    const request = site(tables, "", { BETTER_AUTH_SECRET: "", BETTER_AUTH_SECRETS: `2:${NEW},1:${OLD}` }, forger.cookie());
    assert.equal((await request("/token")).status, 401);
  });

  test("deletes an account for its password only", async () => {
    const tables = emptyTables();
    const request = site(tables, OLD);
    await request("/sign-up/email", account);
    assert.equal((await request("/delete-user", { password: "a guess at it" })).status, 400);
    assert.equal(tables.user.length, 1);
    assert.equal((await request("/delete-user", { password: account.password })).status, 200);
    assert.equal(tables.user.length + tables.session.length + tables.account.length, 0);
  });

  test("limits attempts to sign in, as many as the settings say", async () => {
    const request = site(emptyTables(), OLD, { AUTH_RATE_LIMIT_CREDENTIALS_PER_MINUTE: "3" });
    const statuses = [];
    for (let attempt = 0; attempt < 5; attempt++) statuses.push((await request("/sign-in/email", { ...account, password: "a guess at it" })).status);
    assert.deepEqual(statuses, [401, 401, 401, 429, 429]);
  });

  test("refuses a request from another origin", async () => {
    const settings = readSettings({ DATABASE_URL: "postgresql://f:k3jf83hf@database/app", BETTER_AUTH_URL: ORIGIN, BETTER_AUTH_SECRET: OLD });
    const auth = betterAuth({ ...authOptions(settings, undefined as unknown as Pool), logger: { disabled: true }, database: memoryAdapter(emptyTables()) });
    const headers = { origin: "https://evil.example", cookie: "__Secure-better-auth.session_token=x", "content-type": "application/json" };
    assert.equal((await auth.handler(new Request(`${ORIGIN}/api/auth/sign-in/email`, { method: "POST", headers, body: JSON.stringify(account) }))).status, 403);
  });
});

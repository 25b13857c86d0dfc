import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, describe, test } from "node:test";
import { readSettings, SettingsError } from "@/lib/settings";

const directory = mkdtempSync(path.join(tmpdir(), "settings-"));
after(() => rmSync(directory, { recursive: true }));

const good = {
  DATABASE_URL: "postgresql://frontend:k3jf83hf@database:5432/app",
  BETTER_AUTH_SECRET: "nq8Yd0mN2xkVt5cWz7Lr4Pj9sBf3HgA6",
  BETTER_AUTH_URL: "https://localhost:8443",
};

function problemsOf(env: Record<string, string | undefined>): string[] {
  try {
    readSettings(env);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

function file(name: string, content: string): string {
  const target = path.join(directory, name);
  writeFileSync(target, content);
  return target;
}

describe("readSettings", () => {
  test("takes values from the environment and has defaults for the rest", () => {
    const settings = readSettings(good);
    assert.equal(settings.databaseUrl, good.DATABASE_URL);
    assert.deepEqual(settings.authSecrets, [{ version: 1, value: good.BETTER_AUTH_SECRET }]);
    assert.equal(settings.databasePoolSize, 5);
    assert.deepEqual(settings.rateLimit, { enabled: true, perMinute: 600, credentialsPerMinute: 60 });
  });

  test("takes values from files, without the final newline", () => {
    const settings = readSettings({
      BETTER_AUTH_URL: good.BETTER_AUTH_URL,
      DATABASE_URL_FILE: file("url", `${good.DATABASE_URL}\n`),
      BETTER_AUTH_SECRET_FILE: file("secret", `${good.BETTER_AUTH_SECRET}\r\n`),
    });
    assert.equal(settings.databaseUrl, good.DATABASE_URL);
    assert.equal(settings.authSecretUnversioned, good.BETTER_AUTH_SECRET);
  });

  test("names everything that is missing at once", () => {
    const problems = problemsOf({});
    for (const name of ["DATABASE_URL", "BETTER_AUTH_SECRET", "BETTER_AUTH_URL"]) {
      assert.ok(problems.some((problem) => problem.startsWith(`${name} is missing`)), name);
    }
  });

  test("an empty value or an empty file is a missing one", () => {
    assert.match(problemsOf({ ...good, BETTER_AUTH_SECRET: "" }).join(), /BETTER_AUTH_SECRET is missing/);
    assert.match(problemsOf({ ...good, BETTER_AUTH_SECRET: undefined, BETTER_AUTH_SECRET_FILE: file("empty", "\n") }).join(), /BETTER_AUTH_SECRET is missing/);
  });

  test("a file that cannot be read is named", () => {
    assert.match(problemsOf({ ...good, DATABASE_URL: undefined, DATABASE_URL_FILE: "/nowhere/url" }).join(), /DATABASE_URL_FILE cannot be read: ENOENT \/nowhere\/url/);
  });

  test("a name given both ways is refused: nobody could tell which one counts", () => {
    assert.match(problemsOf({ ...good, BETTER_AUTH_SECRET_FILE: file("both", good.BETTER_AUTH_SECRET) }).join(), /BETTER_AUTH_SECRET and BETTER_AUTH_SECRET_FILE are both set/);
  });

  for (const value of ["changeme", "change-me-please-change-me-please-1234", "CHANGE_ME", "<your secret here, at least 32 chars>", "your-secret-key-goes-here-0123456789", "better-auth-secret-12345678901234567890", "replace_with_a_long_random_string___", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]) {
    test(`refuses the placeholder ${value} without repeating it`, () => {
      const problems = problemsOf({ ...good, BETTER_AUTH_SECRET: value });
      assert.match(problems.join(), /BETTER_AUTH_SECRET is a placeholder/);
      assert.ok(!problems.join().includes(value));
    });
  }

  test("takes several versions of the secret, the newest first", () => {
    const [newer, older] = ["Zk3mR9vTq1LxW5yB8nC2dF6gH4jK7pS0", good.BETTER_AUTH_SECRET];
    const env = { ...good, BETTER_AUTH_SECRET: undefined, BETTER_AUTH_SECRETS: `2:${newer}, 1:${older}` };
    const settings = readSettings(env);
    assert.deepEqual(settings.authSecrets, [
      { version: 2, value: newer },
      { version: 1, value: older },
    ]);
    assert.equal(settings.authSecretUnversioned, older);
    assert.match(problemsOf({ ...env, BETTER_AUTH_SECRETS: `${newer},1:${older}` }).join(), /BETTER_AUTH_SECRETS must be version:secret/);
    assert.match(problemsOf({ ...env, BETTER_AUTH_SECRETS: `1:${newer},1:${older}` }).join(), /each version once/);
    assert.match(problemsOf({ ...env, BETTER_AUTH_SECRETS: `2:${newer},1:short` }).join(), /BETTER_AUTH_SECRETS is too short/);
  });

  test("refuses a short secret", () => {
    assert.match(problemsOf({ ...good, BETTER_AUTH_SECRET: "k3jf83hf" }).join(), /too short/);
  });

  test("refuses a DSN with a placeholder for its password, another scheme, or no URL at all", () => {
    assert.match(problemsOf({ ...good, DATABASE_URL: "postgresql://frontend:changeme@database/app" }).join(), /placeholder/);
    assert.match(problemsOf({ ...good, DATABASE_URL: "mysql://frontend:k3jf83hf@database/app" }).join(), /postgresql:/);
    assert.match(problemsOf({ ...good, DATABASE_URL: "database" }).join(), /not a URL/);
  });

  test("refuses a public URL that is no origin, and takes a final slash away", () => {
    assert.match(problemsOf({ ...good, BETTER_AUTH_URL: "https://localhost:8443/app" }).join(), /BETTER_AUTH_URL/);
    assert.match(problemsOf({ ...good, BETTER_AUTH_URL: "localhost:8443" }).join(), /BETTER_AUTH_URL/);
    assert.equal(readSettings({ ...good, BETTER_AUTH_URL: "https://localhost:8443/" }).authUrl, "https://localhost:8443");
  });

  test("reads lists, switches and numbers", () => {
    const settings = readSettings({
      ...good,
      TRUSTED_ORIGINS: "https://a.example, https://b.example",
      AUTH_RATE_LIMIT_ENABLED: "off",
      DATABASE_POOL_SIZE: "9",
    });
    assert.deepEqual(settings.trustedOrigins, ["https://a.example", "https://b.example"]);
    assert.equal(settings.rateLimit.enabled, false);
    assert.equal(settings.databasePoolSize, 9);
  });

  test("refuses what is no number or no switch", () => {
    assert.match(problemsOf({ ...good, DATABASE_POOL_SIZE: "many" }).join(), /DATABASE_POOL_SIZE/);
    assert.match(problemsOf({ ...good, AUTH_RATE_LIMIT_ENABLED: "perhaps" }).join(), /AUTH_RATE_LIMIT_ENABLED/);
  });
});

import { createHmac, timingSafeEqual } from "node:crypto";
import type { BetterAuthOptions } from "better-auth";
import type { AuthSecret } from "./settings.ts";

type Plugin = NonNullable<BetterAuthOptions["plugins"]>[number];

/** A cookie as Better Auth signs it: the value, a dot, and the base64 of an HMAC-SHA256 over the value, all URL-encoded. */
const SIGNED = /^((?:__Secure-)?better-auth\.[^=]+)=(.+)$/;

const sign = (value: string, secret: string) => createHmac("sha256", secret).update(value).digest();

/** The cookie with the newest secret's signature where an earlier secret's is right; as it is where none is. */
function renewed(cookie: string, [current, ...earlier]: AuthSecret[]): string {
  const [, name, encoded] = SIGNED.exec(cookie) ?? [];
  if (!current || !name || !encoded) return cookie;
  let text: string;
  try {
    text = decodeURIComponent(encoded);
  } catch {
    return cookie;
  }
  const dot = text.lastIndexOf(".");
  const value = text.slice(0, dot);
  const signature = Buffer.from(text.slice(dot + 1), "base64");
  const known = dot > 0 && signature.length === 32 && earlier.some((secret) => timingSafeEqual(sign(value, secret.value), signature));
  return known ? `${name}=${encodeURIComponent(`${value}.${sign(value, current.value).toString("base64")}`)}` : cookie;
}

/**
 * The headers, with the cookies that an earlier secret signed signed by the newest one. Better Auth knows several secrets for
 * what it encrypts, but one for what it signs: without this, a new secret would end every session.
 */
export function withRenewedSignatures(headers: Headers, secrets: AuthSecret[]): Headers {
  const cookies = headers.get("cookie");
  if (!cookies || secrets.length < 2) return headers;
  const after = cookies
    .split(/; */)
    .map((cookie) => renewed(cookie, secrets))
    .join("; ");
  if (after === cookies) return headers;
  const changed = new Headers(headers);
  changed.set("cookie", after);
  return changed;
}

/** Does so for all requests that Better Auth's handler gets. */
export function renewSignatures(secrets: AuthSecret[]): Plugin {
  return {
    id: "renew-signatures",
    onRequest: async (request) => {
      const headers = withRenewedSignatures(request.headers, secrets);
      return headers === request.headers ? undefined : { request: new Request(request, { headers }) };
    },
  };
}

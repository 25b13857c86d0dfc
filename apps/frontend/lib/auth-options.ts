import type { BetterAuthOptions, GenericEndpointContext } from "better-auth";
import { symmetricDecrypt } from "better-auth/crypto";
import { type Jwk, jwt } from "better-auth/plugins/jwt";
import type { Pool } from "pg";
import { type Level, log } from "./log.ts";
import type { Settings } from "./settings.ts";
import { renewSignatures } from "./signatures.ts";

const TOKEN_LIFETIME = "15m";

/**
 * The signing keys that a request may use. Their private halves lie in the database, encrypted with the newest secret of
 * their time. Those that none of this process's secrets opens (a release with a newer one made them, or the secret is retired)
 * are left out where a token is signed, a new one is then made where none is left, and stay published until the tokens that
 * they signed are long gone. Releases on both sides of a change of the secret can therefore run at the same time.
 */
async function signingKeys(context: GenericEndpointContext): Promise<Jwk[]> {
  const keys = await context.context.adapter.findMany<Jwk>({ model: "jwks" });
  if (context.path === "/jwks") return keys;
  const usable = await Promise.all(
    keys.map(({ privateKey }) =>
      symmetricDecrypt({ key: context.context.secretConfig, data: JSON.parse(privateKey) as string }).then(
        () => true,
        () => false,
      ),
    ),
  );
  return keys.filter((_key, index) => usable[index]);
}

/** One secret as it is; several as versions, each of which names itself in what it encrypts. */
function secrets({ authSecrets, authSecretUnversioned }: Settings) {
  return { secret: authSecretUnversioned, ...(authSecrets.length > 1 && { secrets: authSecrets }) };
}

/** What the running application and the migrations must agree on. */
export function authOptions(settings: Settings, database: Pool) {
  const { authUrl, rateLimit } = settings;
  const credentials = { window: 60, max: rateLimit.credentialsPerMinute };
  return {
    appName: "Berth",
    baseURL: authUrl,
    basePath: "/api/auth",
    ...secrets(settings),
    trustedOrigins: [authUrl, ...settings.trustedOrigins],
    database,
    emailAndPassword: { enabled: true, autoSignIn: true, minPasswordLength: 8, maxPasswordLength: 128 },
    user: { deleteUser: { enabled: true } },
    session: { expiresIn: 7 * 24 * 3600, updateAge: 24 * 3600 },
    // Counted per process: a bound against guessing, not an exact quota over replicas.
    rateLimit: {
      enabled: rateLimit.enabled,
      storage: "memory" as const,
      window: 60,
      max: rateLimit.perMinute,
      customRules: {
        "/sign-in/*": credentials,
        "/sign-up/*": credentials,
        "/delete-user": credentials,
        "/change-password": credentials,
        // The backend fetches the keys without a client address; a limit would be shared by all of them.
        "/jwks": false as const,
      },
    },
    advanced: {
      useSecureCookies: authUrl.startsWith("https:"),
      ipAddress: settings.trustedProxies.length > 0 ? { trustedProxies: settings.trustedProxies } : {},
    },
    telemetry: { enabled: false },
    logger: {
      level: "debug" as const,
      log: (level, message) => log((level === "warn" ? "warning" : level) as Level, message.replace(/^\[better-auth\]:? */i, ""), { logger: "auth" }),
    },
    plugins: [
      renewSignatures(settings.authSecrets),
      jwt({
        jwks: { keyPairConfig: { alg: "EdDSA", crv: "Ed25519" } },
        adapter: { getJwks: signingKeys },
        jwt: {
          issuer: authUrl,
          audience: authUrl,
          expirationTime: TOKEN_LIFETIME,
          // The backend needs `sub` and nothing else; names and addresses stay out of tokens.
          definePayload: () => ({}),
        },
      }),
    ],
  } satisfies BetterAuthOptions;
}

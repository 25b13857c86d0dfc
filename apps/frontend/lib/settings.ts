import { readFileSync } from "node:fs";

/** One of the values that BETTER_AUTH_SECRET has had. */
export interface AuthSecret {
  version: number;
  value: string;
}

/** Everything the server side is told from outside, read when the process starts and never at build time. */
export interface Settings {
  /** PostgreSQL connection string. */
  databaseUrl: string;
  /** Largest number of connections one process opens. */
  databasePoolSize: number;
  /** They sign cookies and encrypt the private signing keys: the newest does, those after it are still accepted. */
  authSecrets: AuthSecret[];
  /** Opens what was encrypted before secrets had versions. */
  authSecretUnversioned: string;
  /** The public origin; issuer and audience of the tokens. */
  authUrl: string;
  trustedOrigins: string[];
  trustedProxies: string[];
  rateLimit: {
    enabled: boolean;
    /** Requests a minute from one address to one path. */
    perMinute: number;
    /** Sign-ins and sign-ups a minute from one address. */
    credentialsPerMinute: number;
  };
  version: string;
  revision: string;
}

/** One or more settings are unusable; `problems` has a line for each. */
export class SettingsError extends Error {
  constructor(readonly problems: string[]) {
    super(problems.join("; "));
    this.name = "SettingsError";
  }
}

type Environment = Record<string, string | undefined>;

/** What people leave standing from an example: never a secret. */
const PLACEHOLDER =
  /^(<.*>|x+|\.+|((please[-_ ]?)?change|replace)([-_ ]?(me|it|this|with))?([-_ ].*)?|your[-_ ].*|todo|secret|password|example|placeholder|default|better-auth-secret.*)$/i;
const SECRET_MIN_LENGTH = 32;

/** The value of `name`, or what the file named by `name`_FILE holds, without the final newline. */
export function readSetting(env: Environment, name: string): string | undefined {
  const file = env[`${name}_FILE`];
  if (!file) return env[name] || undefined;
  if (env[name]) throw new SettingsError([`${name} and ${name}_FILE are both set: keep one`]);
  try {
    return readFileSync(file, "utf8").replace(/\r?\n$/, "") || undefined;
  } catch (error) {
    throw new SettingsError([`${name}_FILE cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)} ${file}`]);
  }
}

/**
 * Read and check every setting.
 *
 * @throws {SettingsError} naming all that is missing or unusable, not just the first; values are never in the message.
 */
export function readSettings(env: Environment = process.env): Settings {
  const problems: string[] = [];
  const read = (name: string): string | undefined => {
    try {
      return readSetting(env, name);
    } catch (error) {
      if (!(error instanceof SettingsError)) throw error;
      problems.push(...error.problems);
      return undefined;
    }
  };
  const required = (name: string): string => {
    const before = problems.length;
    const value = read(name);
    if (value === undefined && problems.length === before) problems.push(`${name} is missing: set ${name} or ${name}_FILE`);
    return value ?? "";
  };
  const secret = (name: string, value: string): string => {
    if (value && PLACEHOLDER.test(value)) problems.push(`${name} is a placeholder: generate one, for example with \`openssl rand -base64 32\``);
    else if (value && value.length < SECRET_MIN_LENGTH) problems.push(`${name} is too short: ${SECRET_MIN_LENGTH} characters or more`);
    return value;
  };
  const number = (name: string, fallback: number, least: number): number => {
    const value = read(name);
    if (value === undefined) return fallback;
    const parsed = Number(value);
    if (!Number.isInteger(parsed) || parsed < least) problems.push(`${name} must be a whole number of at least ${least}`);
    return parsed;
  };
  const list = (name: string): string[] => (read(name) ?? "").split(/[\s,]+/).filter(Boolean);
  const flag = (name: string, fallback: boolean): boolean => {
    const value = read(name)?.toLowerCase();
    if (value === undefined) return fallback;
    if (["true", "1", "yes", "on"].includes(value)) return true;
    if (["false", "0", "no", "off"].includes(value)) return false;
    problems.push(`${name} must be true or false`);
    return fallback;
  };

  const databaseUrl = required("DATABASE_URL");
  if (databaseUrl) checkDatabaseUrl(databaseUrl, problems);
  const authUrl = required("BETTER_AUTH_URL");
  if (authUrl && !isOrigin(authUrl)) problems.push("BETTER_AUTH_URL must be an origin such as https://tasks.example.org");
  const versions = read("BETTER_AUTH_SECRETS");
  const single = versions === undefined ? required("BETTER_AUTH_SECRET") : (read("BETTER_AUTH_SECRET") ?? "");
  if (single) secret("BETTER_AUTH_SECRET", single);
  const authSecrets = versions === undefined ? [{ version: 1, value: single }] : authSecretsFrom(versions, problems);
  for (const { value } of versions === undefined ? [] : authSecrets) secret("BETTER_AUTH_SECRETS", value);

  const settings: Settings = {
    databaseUrl,
    databasePoolSize: number("DATABASE_POOL_SIZE", 5, 1),
    authSecrets,
    authSecretUnversioned: single || (authSecrets.at(-1)?.value ?? ""),
    authUrl: authUrl.replace(/\/$/, ""),
    trustedOrigins: list("TRUSTED_ORIGINS"),
    trustedProxies: list("TRUSTED_PROXIES"),
    rateLimit: {
      enabled: flag("AUTH_RATE_LIMIT_ENABLED", true),
      perMinute: number("AUTH_RATE_LIMIT_PER_MINUTE", 600, 1),
      credentialsPerMinute: number("AUTH_RATE_LIMIT_CREDENTIALS_PER_MINUTE", 60, 1),
    },
    version: read("APP_VERSION") ?? "dev",
    revision: read("APP_REVISION") ?? "unknown",
  };
  if (problems.length > 0) throw new SettingsError(problems);
  return settings;
}

function checkDatabaseUrl(value: string, problems: string[]): void {
  let url: URL;
  try {
    url = new URL(value);
  } catch {
    problems.push("DATABASE_URL is not a URL: expected postgresql://user:password@host:5432/database");
    return;
  }
  if (!/^postgres(ql)?:$/.test(url.protocol)) problems.push("DATABASE_URL must begin with postgresql://");
  if (url.password && PLACEHOLDER.test(decodeURIComponent(url.password))) problems.push("DATABASE_URL has a placeholder as its password");
}

/** The secrets of `2:new,1:old`, Better Auth's own form. */
function authSecretsFrom(text: string, problems: string[]): AuthSecret[] {
  const found = text.split(",").map((entry) => /^\s*(\d+):(\S+)\s*$/.exec(entry));
  const secrets = found.flatMap((match) => (match ? [{ version: Number(match[1]), value: match[2] ?? "" }] : []));
  if (secrets.length < found.length || new Set(secrets.map(({ version }) => version)).size < secrets.length)
    problems.push("BETTER_AUTH_SECRETS must be version:secret, newest first, separated by commas, each version once: 2:new,1:old");
  return secrets;
}

function isOrigin(value: string): boolean {
  try {
    const url = new URL(value);
    return /^https?:$/.test(url.protocol) && url.pathname === "/" && !url.search && !url.hash;
  } catch {
    return false;
  }
}

let cached: Settings | undefined;

/** The settings of this process, read once. */
export function settings(): Settings {
  return (cached ??= readSettings());
}

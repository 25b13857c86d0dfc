/** Ask for a new token this long before the old one ends, so that no request sets out with one that expires on the way. */
const MARGIN_SECONDS = 60;

/** The expiry in a JWT's payload, in seconds since 1970; 0 where there is none, so that such a token is never kept. */
export function expiryOf(token: string): number {
  try {
    const payload = token.split(".")[1] ?? "";
    const { exp } = JSON.parse(atob(payload.replace(/-/g, "+").replace(/_/g, "/"))) as { exp?: unknown };
    return typeof exp === "number" ? exp : 0;
  } catch {
    return 0;
  }
}

/** Keeps the access token in memory only, and fetches one when there is none worth using. */
export class TokenSource {
  #token = "";
  #expires = 0;
  #pending: Promise<string> | undefined;

  constructor(
    private readonly fetchToken: () => Promise<string>,
    private readonly now: () => number = () => Date.now() / 1000,
  ) {}

  /** A token good for at least a minute; callers at the same time share one request. */
  async get(): Promise<string> {
    if (this.#token && this.#expires - this.now() > MARGIN_SECONDS) return this.#token;
    this.#pending ??= this.fetchToken()
      .then((token) => {
        this.#token = token;
        this.#expires = expiryOf(token);
        return token;
      })
      .finally(() => {
        this.#pending = undefined;
      });
    return this.#pending;
  }

  /** Forget `token`, which was refused; a newer one is kept. */
  discard(token: string): void {
    if (this.#token === token) this.#token = "";
  }
}

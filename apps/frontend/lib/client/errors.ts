/** A request that did not give what was asked for. Status 0: no answer at all. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    /** Seconds after which the server suggests another try. */
    readonly retryAfter?: number,
  ) {
    super(message);
    this.name = "ApiError";
  }

  /** The session is over; only signing in helps. */
  get signedOut(): boolean {
    return this.status === 401;
  }

  /** The service is away rather than unwilling: trying again later makes sense. */
  get unavailable(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

interface Problem {
  title?: unknown;
  detail?: unknown;
  message?: unknown;
  errors?: unknown;
}

const FALLBACKS: Record<number, string> = {
  0: "The server cannot be reached.",
  401: "Your session has ended. Sign in again.",
  404: "That is no longer there.",
  413: "That is too long to send.",
  429: "Too many requests. Wait a moment and try again.",
  502: "The server is not answering right now.",
  503: "The server is not available right now.",
  504: "The server took too long to answer.",
};

/** The error in an unsuccessful response: problem+json (RFC 9457) from the backend, `{message}` from Better Auth. */
export async function errorFrom(response: Response): Promise<ApiError> {
  let problem: Problem = {};
  if (/\bjson\b/.test(response.headers.get("content-type") ?? "")) {
    problem = await response.json().then((body: unknown) => (typeof body === "object" && body !== null ? (body as Problem) : {}), () => ({}));
  }
  const told = [problem.detail, problem.message, problem.title].find((text): text is string => typeof text === "string" && text !== "");
  const message = response.status === 401 ? FALLBACKS[401] : (told ?? FALLBACKS[response.status]);
  return new ApiError(response.status, message ?? "Something went wrong. Try again.", retryAfter(response));
}

/** `Retry-After` in seconds; dates are turned into the time that is left. */
export function retryAfter(response: Response): number | undefined {
  const value = response.headers.get("retry-after") ?? response.headers.get("x-retry-after");
  if (value === null) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, Math.ceil(seconds)) : undefined;
}

/** What any thrown value should say to a person. */
export function messageOf(error: unknown): string {
  return error instanceof ApiError ? error.message : "Something went wrong. Try again.";
}

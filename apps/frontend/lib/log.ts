/** One-line JSON logs on standard output, for whatever collects the container's log. */

const LEVELS = ["debug", "info", "warning", "error"] as const;
export type Level = (typeof LEVELS)[number];

function threshold(): number {
  const name = (process.env.LOG_LEVEL ?? "info").toLowerCase();
  const index = LEVELS.indexOf((name === "warn" ? "warning" : name === "critical" ? "error" : name) as Level);
  return index < 0 ? LEVELS.indexOf("info") : index;
}

/** Write one line. Errors are reduced to name, code and message: a stack may quote values that do not belong in a log. */
export function log(level: Level, message: string, fields: Record<string, unknown> = {}): void {
  if (LEVELS.indexOf(level) < threshold()) return;
  const line = { time: new Date().toISOString(), level, logger: "frontend", message, ...fields };
  process.stdout.write(`${JSON.stringify(line, (_key, value: unknown) => (value instanceof Error ? describeError(value) : value))}\n`);
}

/** `name`, `code` and `message` of an error, looking into the first cause of an AggregateError, whose own message is empty. */
export function describeError(error: unknown): { error: string; code?: string; detail: string } {
  const cause = error instanceof AggregateError && error.errors.length > 0 ? (error.errors[0] as unknown) : error;
  if (!(cause instanceof Error)) return { error: "Error", detail: String(cause) };
  const { code } = cause as NodeJS.ErrnoException;
  return { error: cause.name, ...(code ? { code } : {}), detail: cause.message };
}

import type { Instrumentation } from "next";

/** Runs once before the first request: unusable settings stop the start, with every one of them named. */
export async function register(): Promise<void> {
  if (process.env.NEXT_RUNTIME !== "nodejs") return;
  const { start } = await import("./lib/start.ts");
  start();
}

export const onRequestError: Instrumentation.onRequestError = async (error, request, context) => {
  if (process.env.NEXT_RUNTIME !== "nodejs") return;
  const { describeError, log } = await import("./lib/log.ts");
  const path = request.path.split("?", 1)[0];
  log("error", "request failed", { method: request.method, path, route: context.routePath, request_id: request.headers["x-request-id"], ...describeError(error) });
};

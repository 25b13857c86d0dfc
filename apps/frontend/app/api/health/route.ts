import { settings } from "@/lib/settings";

export const dynamic = "force-dynamic";

const started = Date.now();

/** Liveness: answers as long as the process does, whatever has become of the database. */
export function GET(): Response {
  const { version, revision } = settings();
  const body = { status: "ok", version, revision, uptime_seconds: Math.round((Date.now() - started) / 1000) };
  return Response.json(body, { headers: { "Cache-Control": "no-store" } });
}

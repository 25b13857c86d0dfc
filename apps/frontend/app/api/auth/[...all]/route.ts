import { authentication } from "@/lib/auth";
import { databaseIsAway } from "@/lib/database";

export const dynamic = "force-dynamic";

/** Better Auth's own handler; a failure that the database explains is told as such, and as worth another try. */
async function handle(request: Request): Promise<Response> {
  const { auth, pool } = authentication();
  try {
    const response = await auth.handler(request);
    return response.status >= 500 && (await databaseIsAway(pool)) ? databaseUnavailable() : response;
  } catch (error) {
    if (await databaseIsAway(pool)) return databaseUnavailable();
    throw error;
  }
}

/** A problem (RFC 9457), as the backend would put it. */
function databaseUnavailable(): Response {
  return Response.json(
    { type: "about:blank", title: "Service Unavailable", status: 503, detail: "The database cannot be reached. Try again shortly." },
    { status: 503, headers: { "Content-Type": "application/problem+json", "Retry-After": "2", "Cache-Control": "no-store" } },
  );
}

export const GET = handle;
export const POST = handle;

import { Pool } from "pg";
import { describeError, log } from "./log.ts";
import type { Settings } from "./settings.ts";

/** A pool that outlives a restart of the database: idle connections that break are logged and replaced. */
export function createPool({ databaseUrl, databasePoolSize, version }: Settings): Pool {
  const pool = new Pool({
    connectionString: databaseUrl,
    application_name: `frontend ${version}`,
    max: databasePoolSize,
    connectionTimeoutMillis: 5_000,
    query_timeout: 10_000,
    idleTimeoutMillis: 30_000,
    maxLifetimeSeconds: 30 * 60,
    keepAlive: true,
  });
  // Without a listener, the loss of an idle connection would end the process.
  pool.on("error", (error) => log("warning", "database connection lost", describeError(error)));
  return pool;
}

/** Whether a failed request can be put down to the database: it does not answer the simplest question. */
export async function databaseIsAway(pool: Pool): Promise<boolean> {
  try {
    await pool.query("select 1");
    return false;
  } catch {
    return true;
  }
}

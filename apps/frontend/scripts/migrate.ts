/**
 * Bring Better Auth's tables up to date: `node migrate.mjs`, as a one-off container of the frontend's image.
 *
 * Waits a while for the database, takes a lock so that two of these never run at once, adds what is missing, and prints what
 * it did as one line of JSON. It only ever adds tables and columns, so a release that is still running is not disturbed.
 */
import { getMigrations } from "better-auth/db/migration";
import type { Pool } from "pg";
import { authOptions } from "../lib/auth-options.ts";
import { createPool } from "../lib/database.ts";
import { describeError, log } from "../lib/log.ts";
import { readSettings, SettingsError } from "../lib/settings.ts";

const WAIT_SECONDS = 30;
const LOCK = 7_310_459_152;
/** Socket errors, and PostgreSQL's own words for "not now": starting up, shutting down, too many connections. */
const TRANSIENT = /^(ECONN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EPIPE|08|57P0|53300)/;

async function connect(pool: Pool) {
  const deadline = Date.now() + WAIT_SECONDS * 1000;
  for (;;) {
    try {
      return await pool.connect();
    } catch (error) {
      const { code = "", detail } = describeError(error);
      const transient = TRANSIENT.test(code) || /timeout|terminated/i.test(detail);
      if (!transient || Date.now() >= deadline) throw error;
      log("warning", "database not reachable yet", { code, detail });
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

async function migrate(): Promise<void> {
  const settings = readSettings();
  const pool = createPool(settings);
  try {
    const client = await connect(pool);
    try {
      await client.query("select pg_advisory_lock($1)", [LOCK]);
      const { toBeCreated, toBeAdded, runMigrations } = await getMigrations(authOptions(settings, pool));
      await runMigrations();
      const created = toBeCreated.map(({ table }) => table);
      const extended = toBeAdded.map(({ table, fields }) => ({ table, columns: Object.keys(fields) }));
      const changed = created.length + extended.length > 0;
      log("info", changed ? "migrations applied" : "nothing to migrate", { changed, created, extended });
    } finally {
      client.release(true); // closing the connection frees the lock
    }
  } finally {
    await pool.end();
  }
}

try {
  await migrate();
} catch (error) {
  if (error instanceof SettingsError) log("error", "cannot migrate", { problems: error.problems });
  else log("error", "migration failed", describeError(error));
  process.exitCode = 1;
}

import { betterAuth } from "better-auth";
import { authOptions } from "./auth-options.ts";
import { createPool } from "./database.ts";
import { settings } from "./settings.ts";

function create() {
  const pool = createPool(settings());
  return { pool, auth: betterAuth(authOptions(settings(), pool)) };
}

let instance: ReturnType<typeof create> | undefined;

/** The authentication of this process; made on first use because `next build` loads this module without settings. */
export function authentication(): ReturnType<typeof create> {
  return (instance ??= create());
}

import { log } from "./log.ts";
import { prepareRuntime } from "./runtime.ts";
import { settings, SettingsError } from "./settings.ts";

/** Prepare the runtime, check the settings and say what starts; exits with status 1 where they cannot be used. */
export function start(): void {
  prepareRuntime();
  try {
    const { version, revision, authUrl } = settings();
    log("info", "frontend starting", { version, revision, public_url: authUrl, node: process.version });
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    log("error", "frontend cannot start", { problems: error.problems });
    process.exit(1);
  }
}

import { Server } from "node:http";
import { format } from "node:util";
import { describeError, type Level, log } from "./log.ts";

/** Make up for what the Node.js that runs this lacks, and bring what others print into the one log. Called once, before anything is served. */
export function prepareRuntime(): void {
  addGetSetCookie();
  closeIdleConnectionsOnClose();
  redirectConsole();
}

/**
 * Debian's Node.js 18 has an undici (5.15) without `Headers.prototype.getSetCookie`, and then Next.js's `headers()` throws.
 * Upstream's Node.js has had it since 18.14.1, and there this does nothing.
 */
function addGetSetCookie(): void {
  if (typeof Headers.prototype.getSetCookie === "function") return;
  Object.defineProperty(Headers.prototype, "getSetCookie", {
    configurable: true,
    writable: true,
    value(this: Headers): string[] {
      return splitSetCookie(this.get("set-cookie"));
    },
  });
}

/** The cookies in a joined `Set-Cookie`: a comma separates them only where a name and an equals sign follow; dates have commas too. */
export function splitSetCookie(joined: string | null): string[] {
  return joined ? joined.split(/,\s*(?=[^\s;,=]+=)/) : [];
}

/**
 * Node.js 18 keeps idle keep-alive connections, such as a reverse proxy's, when a server closes; SIGTERM would then take 5 s
 * longer than the last request. Closing them again and again also catches those that fall idle meanwhile.
 */
function closeIdleConnectionsOnClose(): void {
  const close = Server.prototype.close;
  Server.prototype.close = function (this: Server, callback) {
    const timer = setInterval(() => this.closeIdleConnections(), 50);
    this.once("close", () => clearInterval(timer));
    this.closeIdleConnections();
    return close.call(this, callback);
  };
}

/** Next.js and Node.js write for terminals, over several lines and in colours; a log wants one line of JSON each. */
function redirectConsole(): void {
  if (process.env.NODE_ENV !== "production") return;
  const levels: [keyof Console & ("debug" | "log" | "info" | "warn" | "error"), Level][] = [
    ["debug", "debug"],
    ["log", "info"],
    ["info", "info"],
    ["warn", "warning"],
    ["error", "error"],
  ];
  for (const [method, level] of levels) {
    console[method] = (...args: unknown[]) => {
      const message = format(...args).replace(/\u001b\[[0-9;]*m/g, "").trim();
      if (message) log(level, message, { logger: "next" });
    };
  }
  process.removeAllListeners("warning");
  process.on("warning", (warning) => log(warning.name === "ExperimentalWarning" ? "debug" : "warning", warning.message, { logger: "node", ...describeError(warning) }));
}

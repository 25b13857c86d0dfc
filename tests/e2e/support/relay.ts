import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import type { FullConfig } from "@playwright/test";

/**
 * The near end of the way from the browser's own network namespace (see chromium.mjs) to the edge: a socket file, which
 * namespaces do not separate. Only for an edge on this machine.
 */
export default async function startRelay(config: FullConfig): Promise<(() => Promise<void>) | undefined> {
  const { hostname, port, protocol } = new URL(config.projects[0]?.use.baseURL ?? "");
  if (!["localhost", "127.0.0.1"].includes(hostname)) return undefined;
  const target = Number(port) || (protocol === "https:" ? 443 : 80);
  const directory = mkdtempSync(path.join(tmpdir(), "e2e-"));
  const socket = path.join(directory, "edge.sock");

  const relay = net.createServer((client) => {
    const upstream = net.connect(target, hostname);
    client.pipe(upstream).pipe(client);
    client.on("error", () => upstream.destroy()).on("close", () => upstream.destroy());
    upstream.on("error", () => client.destroy()).on("close", () => client.destroy());
  });
  await new Promise<void>((resolve) => relay.listen(socket, resolve));
  process.env.BROWSER_SOCKET = socket;
  process.env.BROWSER_PORT = String(target);
  return async () => {
    relay.close();
    rmSync(directory, { recursive: true, force: true });
  };
}

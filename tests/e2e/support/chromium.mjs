#!/usr/bin/env node
// Chromium in a network namespace of its own, where only the loopback interface and a relay to the edge exist.
//
// Chromium drops every connection with ERR_NETWORK_CHANGED when any address of the machine comes or goes, and on a Docker host
// each container that starts or stops does that. Alone it sees no such change. Playwright starts this file as the browser: the first
// time on the machine's network, where it enters the namespace; the second time inside it, where it relays and runs Chromium.
import { spawn, spawnSync } from "node:child_process";
import net from "node:net";
import { fileURLToPath } from "node:url";

const { CHROMIUM_PATH = "/usr/bin/chromium", BROWSER_SOCKET: socket, BROWSER_PORT: port, BROWSER_ALONE: alone } = process.env;
const args = process.argv.slice(2);
// Playwright talks to the browser by descriptors 3 and 4.
const stdio = ["inherit", "inherit", "inherit", 3, 4];

function run(command, commandArgs, env = process.env) {
  const child = spawn(command, commandArgs, { stdio, env });
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`${command}: ${error.message}`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => process.exit(signal ? 1 : (code ?? 1)));
}

if (alone) {
  spawnSync("ip", ["link", "set", "lo", "up"], { stdio: "inherit" });
  const relay = net.createServer((client) => {
    const upstream = net.connect(socket);
    client.pipe(upstream).pipe(client);
    for (const [one, other] of [[client, upstream], [upstream, client]]) one.on("error", () => other.destroy()).on("close", () => other.destroy());
  });
  relay.listen(Number(port), "127.0.0.1", () => run(CHROMIUM_PATH, args));
} else if (socket && spawnSync("unshare", ["--net", "ip", "link", "set", "lo", "up"]).status === 0) {
  run("unshare", ["--net", process.execPath, fileURLToPath(import.meta.url), ...args], { ...process.env, BROWSER_ALONE: "1" });
} else {
  run(CHROMIUM_PATH, args); // not root, not Linux, or not a local edge
}

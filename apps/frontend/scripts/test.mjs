// Compile the tests with esbuild and hand them to Node.js's own runner: no test framework to install.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const out = path.join(root, ".test");

rmSync(out, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: readdirSync(path.join(root, "tests"))
    .filter((name) => /\.test\.tsx?$/.test(name))
    .map((name) => `tests/${name}`),
  outdir: out,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node18.20",
  jsx: "automatic",
  packages: "external",
  sourcemap: "inline",
  alias: { "@": root },
  logLevel: "warning",
});
const files = readdirSync(out).map((name) => path.join(out, name));
const { status } = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...files], { stdio: "inherit", cwd: root });
process.exitCode = status ?? 1;

// After `next build`: make .next/standalone complete, so that copying this one directory is the whole installation.
import { cp, rm } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const standalone = path.join(root, ".next/standalone");

await Promise.all([
  cp(path.join(root, "public"), path.join(standalone, "public"), { recursive: true }),
  cp(path.join(root, ".next/static"), path.join(standalone, ".next/static"), { recursive: true }),
  // Nothing at run time reads these.
  ...["tsconfig.json", "package-lock.json", "tests", "scripts"].map((name) => rm(path.join(standalone, name), { recursive: true, force: true })),
  build({
    absWorkingDir: root,
    entryPoints: ["scripts/migrate.ts"],
    outfile: path.join(standalone, "migrate.mjs"),
    bundle: true,
    minify: true,
    keepNames: true,
    platform: "node",
    format: "esm",
    target: "node18.20",
    external: ["pg-native"],
    // Node.js 18 has Web Crypto but not as a global, and bundled CommonJS asks for `require`.
    banner: {
      js: [
        'import { webcrypto as __webcrypto } from "node:crypto";',
        'import { createRequire as __createRequire } from "node:module";',
        "globalThis.crypto ??= __webcrypto;",
        "const require = __createRequire(import.meta.url);",
      ].join("\n"),
    },
    logLevel: "warning",
  }),
]);

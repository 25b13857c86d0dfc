import path from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "@playwright/test";

const here = path.dirname(fileURLToPath(import.meta.url));
const reports = path.resolve(here, process.env.REPORTS_DIR ?? "../../reports");

const realOutage = Boolean(process.env.OUTAGE_START && process.env.OUTAGE_END);
const grepInvert = realOutage ? /@outage/ : undefined;
const mobile = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
const desktop = { viewport: { width: 1440, height: 900 } };

/**
 * The user interface at BASE_URL, in the Chromium that the machine has.
 *
 * BASE_URL        URL of the edge (https://localhost:8443)
 * CHROMIUM_PATH   the browser (/usr/bin/chromium)
 * REPORTS_DIR     where e2e.xml and screenshots/ go (reports/ of the repository)
 * OUTAGE_START, OUTAGE_END   shell commands that stop and start the backend; without them the browser's
 *                 requests to it are blocked instead
 */
export default defineConfig({
  testDir: ".",
  testMatch: "*.spec.ts",
  globalSetup: "./support/relay.ts",
  outputDir: path.join(reports, "e2e-failures"),
  metadata: { reports },
  fullyParallel: true,
  workers: Number(process.env.E2E_WORKERS ?? 2),
  forbidOnly: Boolean(process.env.CI),
  retries: 0,
  timeout: 45_000,
  expect: { timeout: 10_000 },
  reporter: [["list"], ["junit", { outputFile: path.join(reports, "e2e.xml") }]],
  use: {
    baseURL: process.env.BASE_URL ?? "https://localhost:8443",
    // The edge's own authority: that its chain is right is checked by the acceptance tests, with the exported certificate.
    ignoreHTTPSErrors: true,
    browserName: "chromium",
    trace: "retain-on-failure",
    launchOptions: {
      executablePath: path.join(here, "support/chromium.mjs"),
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
    },
  },
  projects: [
    { name: "mobile", use: mobile, grepInvert },
    { name: "desktop", use: desktop, grepInvert },
    // A real outage affects all tests: run it last and alone.
    ...(realOutage ? [{ name: "outage", use: desktop, grep: /@outage/, dependencies: ["mobile", "desktop"] }] : []),
  ],
});

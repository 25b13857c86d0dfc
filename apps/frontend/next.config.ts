import path from "node:path";
import { fileURLToPath } from "node:url";
import type { NextConfig } from "next";
import { PHASE_DEVELOPMENT_SERVER } from "next/constants";

const root = path.dirname(fileURLToPath(import.meta.url));

/** Headers that are the same for every answer; the Content-Security-Policy carries a nonce and is set in middleware.ts. */
const securityHeaders = [
  { key: "X-Content-Type-Options", value: "nosniff" },
  { key: "X-Frame-Options", value: "DENY" },
  { key: "Referrer-Policy", value: "same-origin" },
  { key: "Cross-Origin-Opener-Policy", value: "same-origin" },
  { key: "Cross-Origin-Resource-Policy", value: "same-origin" },
  { key: "Permissions-Policy", value: "camera=(), geolocation=(), microphone=(), payment=(), usb=()" },
];

export default function config(phase: string): NextConfig {
  const development = phase === PHASE_DEVELOPMENT_SERVER;
  return {
    output: "standalone",
    poweredByHeader: false,
    reactStrictMode: true,
    // The standalone tree must not depend on what lies above this directory.
    outputFileTracingRoot: root,
    turbopack: { root },
    // sharp needs Node.js 20.9, and there is no raster image to optimise.
    images: { unoptimized: true },
    outputFileTracingExcludes: {
      "*": [
        "node_modules/@img/**",
        "node_modules/sharp/**",
        "node_modules/typescript/**",
        "node_modules/esbuild/**",
        "node_modules/@esbuild/**",
        "node_modules/caniuse-lite/**",
        "node_modules/next/dist/compiled/@babel/**",
        "node_modules/next/dist/compiled/babel/!(code-frame.js)",
        "node_modules/next/dist/compiled/next-server/*.dev.js",
        "node_modules/next/dist/compiled/next-server/pages*",
        // What webpack's builds and experimental React would load.
        "node_modules/next/dist/compiled/next-server/*experimental*",
        "node_modules/next/dist/compiled/next-server/app-page.runtime*",
        "node_modules/next/dist/compiled/amphtml-validator/**",
        "node_modules/next/dist/compiled/crypto-browserify/**",
        "node_modules/next/dist/compiled/next-devtools/**",
        "node_modules/next/dist/compiled/webpack/**",
        "node_modules/react-dom/cjs/*.development.js",
        "node_modules/react-dom/cjs/react-dom-server-legacy*",
        "node_modules/react-dom/cjs/react-dom-server.{browser,edge}*",
        "node_modules/react/cjs/*.development.js",
        "node_modules/next/dist/build/webpack/**",
        "node_modules/next/dist/esm/**",
        "node_modules/next/dist/**/*.map",
        "node_modules/next/dist/client/dev/**",
      ],
    },
    headers: async () => [{ source: "/:path*", headers: securityHeaders }],
    // Behind the edge the backend shares this origin; only `next dev` has to forward to it.
    rewrites: async () =>
      development
        ? { beforeFiles: [], afterFiles: [], fallback: [{ source: "/:path(api|health|openapi.json)/:rest*", destination: `${process.env.BACKEND_URL ?? "http://127.0.0.1:8000"}/:path/:rest*` }] }
        : [],
  };
}

import { type NextRequest, NextResponse } from "next/server";
import { contentSecurityPolicy } from "./lib/csp.ts";

/** Give every page its own nonce: Next.js reads it from the request's policy and puts it on its scripts. */
export function middleware(request: NextRequest): NextResponse {
  const nonce = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))));
  const https = (request.headers.get("x-forwarded-proto") ?? request.nextUrl.protocol).startsWith("https");
  const policy = contentSecurityPolicy({ nonce, https, development: process.env.NODE_ENV === "development" });

  const headers = new Headers(request.headers);
  headers.set("content-security-policy", policy);
  const response = NextResponse.next({ request: { headers } });
  response.headers.set("content-security-policy", policy);
  return response;
}

/** Pages only: files and the API need no nonce. */
export const config = {
  matcher: [{ source: "/((?!api/|_next/|.*\\.(?:svg|ico|png|txt|webmanifest)$).*)" }],
};

interface PolicyInput {
  nonce: string;
  https: boolean;
  /** `next dev` evaluates modules and injects styles. */
  development: boolean;
}

/** The Content-Security-Policy of a page: nothing but this origin, and no script without the request's nonce. */
export function contentSecurityPolicy({ nonce, https, development }: PolicyInput): string {
  return [
    "default-src 'none'",
    `script-src 'self' 'nonce-${nonce}' 'strict-dynamic'${development ? " 'unsafe-eval'" : ""}`,
    `style-src 'self' ${development ? "'unsafe-inline'" : `'nonce-${nonce}'`}`,
    "img-src 'self'",
    "font-src 'self'",
    "connect-src 'self'",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    ...(https && !development ? ["upgrade-insecure-requests"] : []),
  ].join("; ");
}

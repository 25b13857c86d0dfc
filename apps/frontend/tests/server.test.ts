import assert from "node:assert/strict";
import { describe, mock, test } from "node:test";
import { contentSecurityPolicy } from "@/lib/csp";
import { describeError, log } from "@/lib/log";
import { splitSetCookie } from "@/lib/runtime";
import { themeFrom } from "@/lib/theme";

describe("contentSecurityPolicy", () => {
  test("allows no inline code, no evaluation and no other origin in production", () => {
    const policy = contentSecurityPolicy({ nonce: "abc", https: true, development: false });
    assert.match(policy, /script-src 'self' 'nonce-abc' 'strict-dynamic'(;|$)/);
    assert.doesNotMatch(policy, /unsafe|https?:\/\/|\*/);
    for (const directive of ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'", "upgrade-insecure-requests"]) assert.ok(policy.includes(directive), directive);
  });

  test("does not send a plain http site to https", () => {
    assert.doesNotMatch(contentSecurityPolicy({ nonce: "abc", https: false, development: false }), /upgrade/);
  });
});

describe("splitSetCookie", () => {
  test("does not split at the comma of a date", () => {
    assert.deepEqual(splitSetCookie("a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/, __Secure-b=2; HttpOnly,c=3"), ["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/", "__Secure-b=2; HttpOnly", "c=3"]);
    assert.deepEqual(splitSetCookie(null), []);
  });
});

describe("log", () => {
  test("writes one line of JSON, and nothing below its level", () => {
    const written: string[] = [];
    mock.method(process.stdout, "write", (text: string) => written.push(text) > 0);
    log("info", "first\nsecond", { error: new AggregateError([Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" })]) });
    log("debug", "too quiet");
    mock.restoreAll();
    assert.equal(written.length, 1);
    assert.equal(written[0]?.trimEnd().includes("\n"), false);
    const line = JSON.parse(written[0] ?? "") as Record<string, unknown>;
    assert.equal(line.message, "first\nsecond");
    assert.deepEqual(line.error, { error: "Error", code: "ECONNREFUSED", detail: "connect ECONNREFUSED" });
  });

  test("says what was thrown even if it is no error", () => {
    assert.deepEqual(describeError("oops"), { error: "Error", detail: "oops" });
  });
});

test("only the two themes are themes", () => {
  assert.equal(themeFrom("dark"), "dark");
  assert.equal(themeFrom('dark"><script>'), undefined);
  assert.equal(themeFrom(undefined), undefined);
});

import assert from "node:assert/strict";
import { afterEach, describe, mock, test } from "node:test";
import { Api } from "@/lib/client/api";
import { ApiError, errorFrom, retryAfter } from "@/lib/client/errors";
import { EventStreamParser, readEvents } from "@/lib/client/sse";
import { relativeTime } from "@/lib/client/time";
import { expiryOf, TokenSource } from "@/lib/client/token";

function jwt(exp?: number): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "EdDSA" })}.${part({ sub: "user ÿ?>", ...(exp === undefined ? {} : { exp }) })}.signature`;
}

describe("EventStreamParser", () => {
  const stream = 'event: conversation\ndata: {"conversation_id":"c"}\n\n: keep-alive\n\nevent: delta\r\ndata: one\r\ndata: two\r\n\r\ndata:three\rid: 7\r\rnothing: here\n\n';
  const events = [
    { event: "conversation", data: '{"conversation_id":"c"}' },
    { event: "delta", data: "one\ntwo" },
    { event: "message", data: "three" },
  ];

  for (let size = 1; size <= 7; size++) {
    test(`finds the same events in pieces of ${size}`, () => {
      const parser = new EventStreamParser();
      const found = [];
      for (let start = 0; start < stream.length; start += size) found.push(...parser.push(stream.slice(start, start + size)));
      assert.deepEqual(found, events);
    });
  }

  test("drops an unfinished event", () => {
    assert.deepEqual(new EventStreamParser().push("event: delta\ndata: cut off\n"), []);
  });

  test("reads characters that are split between two pieces", async () => {
    const bytes = new TextEncoder().encode("data: süß ⛵\n\n");
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
        controller.close();
      },
    });
    const found = [];
    for await (const event of readEvents(body)) found.push(event);
    assert.deepEqual(found, [{ event: "message", data: "süß ⛵" }]);
  });
});

describe("TokenSource", () => {
  test("reads the expiry out of a token, and none out of what is no token", () => {
    assert.equal(expiryOf(jwt(1_900_000_000)), 1_900_000_000);
    assert.equal(expiryOf(jwt()), 0);
    assert.equal(expiryOf("nonsense"), 0);
  });

  test("keeps a token until a minute before its end", async () => {
    let now = 1000;
    const fetchToken = mock.fn(async () => jwt(now + 900));
    const tokens = new TokenSource(fetchToken, () => now);
    const first = await tokens.get();
    now += 839;
    assert.equal(await tokens.get(), first);
    now += 1;
    assert.notEqual(await tokens.get(), first);
    assert.equal(fetchToken.mock.callCount(), 2);
  });

  test("asks once for callers at the same time, and again after a failure", async () => {
    let fails = true;
    const fetchToken = mock.fn(async () => {
      if (fails) throw new ApiError(503, "away");
      return jwt(Date.now() / 1000 + 900);
    });
    const tokens = new TokenSource(fetchToken);
    const results = await Promise.allSettled([tokens.get(), tokens.get()]);
    assert.deepEqual(results.map(({ status }) => status), ["rejected", "rejected"]);
    assert.equal(fetchToken.mock.callCount(), 1);
    fails = false;
    const [one, two] = await Promise.all([tokens.get(), tokens.get()]);
    assert.equal(one, two);
    assert.equal(fetchToken.mock.callCount(), 2);
  });

  test("discards the refused token only", async () => {
    let turn = 0;
    const tokens = new TokenSource(async () => jwt(Date.now() / 1000 + 900 + turn++));
    const old = await tokens.get();
    tokens.discard(old);
    const fresh = await tokens.get();
    tokens.discard(old);
    assert.equal(await tokens.get(), fresh);
  });
});

describe("errorFrom", () => {
  const response = (status: number, body: string, type: string, headers: Record<string, string> = {}) => new Response(body, { status, headers: { "content-type": type, ...headers } });

  test("prefers the problem's detail", async () => {
    const error = await errorFrom(response(422, '{"title":"Unprocessable","detail":"title: too long"}', "application/problem+json"));
    assert.equal(error.message, "title: too long");
    assert.equal(error.unavailable, false);
  });

  test("takes Better Auth's message", async () => {
    assert.equal((await errorFrom(response(422, '{"message":"User already exists."}', "application/json"))).message, "User already exists.");
  });

  test("never shows a proxy's page", async () => {
    const error = await errorFrom(response(502, "<h1>Bad Gateway</h1>", "text/html"));
    assert.equal(error.message, "The server is not answering right now.");
    assert.equal(error.unavailable, true);
  });

  test("survives JSON that is none", async () => {
    assert.equal((await errorFrom(response(500, "{", "application/json"))).message, "Something went wrong. Try again.");
  });

  test("reads Retry-After as seconds and as a date", () => {
    assert.equal(retryAfter(response(503, "", "text/plain", { "retry-after": "7" })), 7);
    const soon = retryAfter(response(503, "", "text/plain", { "retry-after": new Date(Date.now() + 30_000).toUTCString() }));
    assert.ok(soon !== undefined && soon >= 28 && soon <= 30, String(soon));
    assert.equal(retryAfter(response(503, "", "text/plain")), undefined);
    assert.equal(retryAfter(response(503, "", "text/plain", { "retry-after": "soon" })), undefined);
  });
});

describe("Api", () => {
  afterEach(() => mock.restoreAll());

  /** Answers each request by its path with the next of the responses given for it. */
  function serve(answers: Record<string, (Response | Error)[]>) {
    return mock.method(globalThis, "fetch", async (input: string | URL | Request) => {
      const path = String(input).split("?")[0] ?? "";
      const answer = answers[path]?.shift();
      if (answer === undefined) throw new Error(`unexpected request: ${path}`);
      if (answer instanceof Error) throw answer;
      return answer;
    });
  }
  const token = () => Response.json({ token: jwt(Date.now() / 1000 + 900 + Math.random()) });
  const page = () => Response.json({ items: [], total: 0, limit: 20, offset: 0 });
  const status = (code: number) => new Response("", { status: code });

  test("replaces a refused token once", async () => {
    const fetched = serve({ "/api/auth/token": [token(), token()], "/api/tasks": [status(401), page()] });
    const api = new Api(() => assert.fail("not signed out"));
    assert.equal((await api.listTasks({ limit: 20 })).total, 0);
    const sent = fetched.mock.calls.map(({ arguments: [, init] }) => new Headers(init?.headers).get("authorization")).filter(Boolean);
    assert.equal(sent.length, 2);
    assert.notEqual(sent[0], sent[1]);
  });

  test("a second refusal, or no token at all, ends the session", async () => {
    const cases: Record<string, Response[]>[] = [{ "/api/auth/token": [token(), token()], "/api/tasks": [status(401), status(401)] }, { "/api/auth/token": [status(401)] }];
    for (const answers of cases) {
      serve(answers);
      const signedOut = mock.fn();
      const api = new Api(signedOut);
      await assert.rejects(api.listTasks({ limit: 20 }), { status: 401 });
      assert.equal(signedOut.mock.callCount(), 1);
      assert.equal(api.connection.snapshot().online, true);
      mock.restoreAll();
    }
  });

  for (const away of [status(502), status(503), status(504), new TypeError("Failed to fetch")]) {
    test(`notices that the server is away (${away instanceof Error ? away.message : away.status}) and back`, async () => {
      serve({ "/api/auth/token": [token()], "/api/tasks": [away, page()] });
      const api = new Api(() => assert.fail("not signed out"));
      const changed = mock.fn();
      api.connection.subscribe(changed);
      await assert.rejects(api.listTasks({ limit: 20 }), (error) => error instanceof ApiError && error.unavailable);
      assert.deepEqual(api.connection.snapshot(), { online: false, epoch: 0 });
      await api.listTasks({ limit: 20 });
      assert.deepEqual(api.connection.snapshot(), { online: true, epoch: 1 });
      assert.equal(changed.mock.callCount(), 2);
    });
  }

  test("a model that is away does not count as an outage", async () => {
    serve({ "/api/auth/token": [token()], "/api/chat/stream": [status(503)] });
    const api = new Api(() => assert.fail("not signed out"));
    await assert.rejects(api.chat({ message: "hello", conversationId: undefined, idempotencyKey: "k", signal: new AbortController().signal }).next(), { status: 503 });
    assert.equal(api.connection.snapshot().online, true);
  });

  test("gives up on a server that accepts the request and never answers", async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    const api = new Api(() => assert.fail("not signed out"));
    mock.method(globalThis, "fetch", (input: string, init: RequestInit) =>
      input === "/api/auth/token" ? Promise.resolve(token()) : new Promise((_resolve, reject) => init.signal?.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")))),
    );
    const answer = assert.rejects(api.listTasks({ limit: 20 }), { status: 0, message: "The server takes too long to answer." });
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    mock.timers.tick(10_000);
    await answer;
    assert.equal(api.connection.snapshot().online, false);
    mock.timers.reset();
  });

  test("a stream may be silent for 45 seconds, and comments count as words", async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    let source: ReadableStreamDefaultController<Uint8Array> | undefined;
    const send = (text: string) => source?.enqueue(new TextEncoder().encode(text));
    mock.method(globalThis, "fetch", async (input: string, init: RequestInit) => {
      if (input === "/api/auth/token") return token();
      init.signal?.addEventListener("abort", () => source?.error(new DOMException("aborted", "AbortError")));
      return new Response(new ReadableStream({ start: (controller) => void (source = controller) }));
    });
    const api = new Api(() => assert.fail("not signed out"));
    const events = api.chat({ message: "hello", conversationId: undefined, idempotencyKey: "k", signal: new AbortController().signal });
    const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
    const first = events.next();
    await settle();
    for (let quarter = 0; quarter < 4; quarter++) {
      mock.timers.tick(40_000);
      send(": keep-alive\n\n");
      await settle();
    }
    send("event: delta\ndata: {}\n\n");
    assert.deepEqual((await first).value, { event: "delta", data: "{}" });
    const second = assert.rejects(events.next(), { status: 0 });
    await settle();
    mock.timers.tick(45_000);
    await second;
    assert.equal(api.connection.snapshot().online, false);
    mock.timers.reset();
  });

  test("sends the key that makes a retry harmless", async () => {
    const fetched = serve({ "/api/auth/token": [token()], "/api/tasks": [Response.json({ id: "t" }, { status: 201 })] });
    await new Api(() => undefined).addTask({ title: "buy milk", description: null }, "key-1");
    assert.equal(new Headers(fetched.mock.calls.at(-1)?.arguments[1]?.headers).get("idempotency-key"), "key-1");
  });
});

describe("relativeTime", () => {
  const now = Date.parse("2026-11-24T12:00:00Z");
  for (const [moment, words] of [
    ["2026-11-24T11:59:40Z", "just now"],
    ["2026-11-24T11:55:00Z", "5 minutes ago"],
    ["2026-11-23T11:00:00Z", "yesterday"],
    ["2026-11-10T12:00:00Z", "2 weeks ago"],
  ] as const) {
    test(`${moment} is ${words}`, () => assert.equal(relativeTime(moment, now), words));
  }
});

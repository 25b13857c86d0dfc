// Mixed load on one user's session: pages, reads, writes and chats at fixed rates, whatever the answers. Run by `make stress` with k6.
// Environment: URL, DURATION (s), RATE (requests a second), CHAT (1: with chats), NONCE.
import { check } from "k6";
import http from "k6/http";

const url = __ENV.URL;
const rate = Number(__ENV.RATE);
const duration = `${__ENV.DURATION}s`;
const user = { name: "Load", email: `load-${__ENV.NONCE}@example.com`, password: `load-${__ENV.NONCE}-password` };
const json = { "Content-Type": "application/json", Origin: url };

function kind(exec, share, workers) {
  const perSecond = Math.max(1, Math.round(rate * share));
  return {
    executor: "constant-arrival-rate", exec, rate: perSecond, timeUnit: "1s", duration,
    preAllocatedVUs: workers, maxVUs: workers * 3, gracefulStop: "5s",
  };
}

export const options = {
  discardResponseBodies: true,
  insecureSkipTLSVerify: false,
  summaryTrendStats: ["avg", "med", "p(95)", "max"],
  scenarios: {
    pages: kind("page", 0.1, 6),
    reads: kind("read", 0.6, 12),
    writes: kind("write", 0.25, 10),
    ...(__ENV.CHAT === "1" ? { chats: kind("chat", 0.05, 4) } : {}),
  },
};

export function setup() {
  const answer = http.post(`${url}/api/auth/sign-up/email`, JSON.stringify(user), { headers: json, responseType: "text" });
  if (answer.status !== 200) throw new Error(`sign-up answered ${answer.status}: ${answer.body}`);
  const cookies = Object.entries(answer.cookies).map(([name, values]) => `${name}=${values[0].value}`).join("; ");
  return { cookies };
}

let token = "";
let until = 0;

// A token lives a quarter of an hour: each worker fetches its own again after five minutes.
function authorization(data) {
  if (Date.now() > until) {
    const answer = http.get(`${url}/api/auth/token`, { headers: { Cookie: data.cookies, Origin: url }, responseType: "text", tags: { kind: "token" } });
    if (answer.status !== 200) return null;
    token = answer.json("token");
    until = Date.now() + 300000;
  }
  return { ...json, Authorization: `Bearer ${token}` };
}

export function page() {
  check(http.get(`${url}/`, { tags: { kind: "page" } }), { ok: (r) => r.status === 200 });
}

export function read(data) {
  const headers = authorization(data);
  if (headers) http.get(`${url}/api/tasks?limit=20`, { headers, tags: { kind: "read" } });
}

export function write(data) {
  const headers = authorization(data);
  if (!headers) return;
  const title = `load ${__ENV.NONCE} ${__VU}-${__ITER}`;
  const answer = http.post(`${url}/api/tasks`, JSON.stringify({ title }), { headers, tags: { kind: "write" } });
  // What was acknowledged must be there in the end.
  if (answer.status === 201) console.log(`ack ${title}`);
}

export function chat(data) {
  const headers = authorization(data);
  const body = JSON.stringify({ message: "list my tasks" });
  if (headers) http.post(`${url}/api/chat`, body, { headers, tags: { kind: "chat" }, timeout: "30s" });
}

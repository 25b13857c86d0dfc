import { expect, test, Workspace } from "./support/fixtures.ts";

test("pages carry a strict policy with a nonce of their own, and no inline code without it", async ({ request }) => {
  const nonces = new Set<string>();
  for (let load = 0; load < 2; load++) {
    const response = await request.get("/");
    const headers = response.headers();
    const policy = headers["content-security-policy"] ?? "";
    const nonce = /script-src [^;]*'nonce-([^']+)'/.exec(policy)?.[1] ?? "";
    expect(nonce).not.toBe("");
    nonces.add(nonce);
    expect(policy).not.toMatch(/unsafe-|https?:|\*/);
    for (const directive of ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"]) expect(policy).toContain(directive);
    expect(headers["x-content-type-options"]).toBe("nosniff");
    expect(headers["referrer-policy"]).toBeTruthy();
    expect(headers["x-powered-by"]).toBeUndefined();
    expect(headers["cache-control"]).toContain("no-store");

    const html = await response.text();
    const scripts = html.match(/<script\b[^>]*>/g) ?? [];
    expect(scripts.length).toBeGreaterThan(3);
    for (const script of scripts) expect(script).toContain(`nonce="${nonce}"`);
    expect(html).not.toMatch(/<[^>]+ style=/);
  }
  expect(nonces.size).toBe(2);
});

test("static files are hashed, compressed and cached for long", async ({ page, monitor }) => {
  const headers = new Map<string, Record<string, string>>();
  page.on("response", (response) => void (response.url().includes("/_next/static/") && headers.set(response.url(), response.headers())));
  await page.goto("/");
  await monitor.idle();
  expect(headers.size).toBeGreaterThan(3);
  for (const [url, each] of headers) {
    expect(each["cache-control"], url).toMatch(/max-age=31536000.*immutable/);
    const worthIt = /javascript|css/.test(each["content-type"] ?? "") && Number(each["content-length"] ?? Infinity) > 2000;
    if (worthIt) expect(each["content-encoding"], url).toMatch(/^(gzip|br|zstd)$/);
  }
});

test("session cookies cannot be read by scripts or sent from elsewhere", async ({ page, workspace }) => {
  await expect(workspace.newTask).toBeVisible();
  const [session, ...others] = (await page.context().cookies()).filter(({ name }) => name.includes("session"));
  expect(others).toEqual([]);
  expect(session).toMatchObject({ httpOnly: true, secure: page.url().startsWith("https:"), sameSite: "Lax" });
  expect(await page.evaluate(() => document.cookie)).not.toContain("session");
  const stored = await page.evaluate(() => JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage)]));
  expect(stored, "the access token stays in memory").not.toMatch(/eyJ/);
});

test("an unknown address has a page of its own that leads back", async ({ page, monitor }) => {
  await monitor.tolerate(/status 404|status of 404/, async () => {
    expect((await page.goto("/no/such/page"))?.status()).toBe(404);
    await expect(page.getByRole("heading", { name: "There is nothing here" })).toBeVisible();
  });
  await page.getByRole("link", { name: "Back to your tasks" }).click();
  await expect(page.getByRole("heading", { name: "Welcome back" })).toBeVisible();
});

test("a long list comes in pages", async ({ page, account, baseURL, monitor }) => {
  const headers = { origin: baseURL ?? "" };
  expect((await page.request.post("/api/auth/sign-up/email", { data: account, headers })).status()).toBe(200);
  const { token } = (await (await page.request.get("/api/auth/token")).json()) as { token: string };
  for (let number = 1; number <= 45; number++) {
    const created = await page.request.post("/api/tasks", { data: { title: `Task ${number}` }, headers: { authorization: `Bearer ${token}` } });
    expect(created.status()).toBe(201);
  }
  const workspace = new Workspace(page);
  await page.goto("/");
  await expect(workspace.tasks).toHaveCount(20);
  await expect(page.getByText("20 of 45")).toBeVisible();
  await page.getByRole("button", { name: "Load more" }).click();
  await expect(workspace.tasks).toHaveCount(40);
  await page.getByRole("button", { name: "Load more" }).click();
  await expect(workspace.tasks).toHaveCount(45);
  await expect(page.getByRole("button", { name: "Load more" })).toBeHidden();
  expect(new Set(await workspace.tasks.locator(".task-title").allTextContents()).size).toBe(45);

  await workspace.task("Task 3").getByRole("checkbox").check();
  await expect(page.getByText("44 open")).toBeVisible();
  await expect(workspace.tasks, "what was loaded stays loaded").toHaveCount(45);
  await monitor.idle();
});

import { execSync } from "node:child_process";
import { expect, test } from "./support/fixtures.ts";

const BACKEND = /\/api\/(?!auth\/|health)/;
/** Console messages of a browser during a backend outage. */
const OUTAGE = /\/api\/(?!auth\/|health)|net::ERR_|status of 50[234]/;

/** Stop and start the backend: by the environment's commands, otherwise by blocking this browser's requests. */
const outage = {
  real: Boolean(process.env.OUTAGE_START && process.env.OUTAGE_END),
  run(name: "OUTAGE_START" | "OUTAGE_END"): void {
    execSync(process.env[name] ?? "", { stdio: "inherit", timeout: 60_000 });
  },
};

test("a lost backend is shown, and recovered from without a reload @outage", async ({ page, workspace, monitor, picture }) => {
  test.slow(outage.real, "containers stop and start");
  await workspace.add("Before the outage");
  await page.evaluate(() => Object.assign(window, { samePage: true }));

  await monitor.tolerate(OUTAGE, async () => {
    if (outage.real) outage.run("OUTAGE_START");
    else await page.route(BACKEND, (route) => route.abort("connectionrefused"));
    try {
      await workspace.newTask.fill("Typed during the outage");
      await workspace.newTask.press("Enter");
      await expect(page.getByText("The server cannot be reached.").first()).toBeVisible();
      await expect(workspace.newTask).toHaveValue("Typed during the outage");
      await expect(workspace.task("Before the outage")).toBeVisible();
      await picture("outage");

      await workspace.show("Assistant");
      await workspace.message.fill("list my tasks");
      await workspace.message.press("Enter");
      await expect(workspace.answers.getByRole("alert")).toBeVisible();
    } finally {
      if (outage.real) {
        outage.run("OUTAGE_END");
        await expect.poll(async () => (await page.request.get("/health/ready").catch(() => undefined))?.status(), { timeout: 60_000 }).toBe(200);
      } else {
        await page.unroute(BACKEND);
      }
    }
    await expect(page.locator(".outage")).toBeHidden({ timeout: 30_000 });
  });

  await page.getByRole("button", { name: "Try again" }).click();
  await expect(workspace.answers.locator(".rich-text")).toContainText("Before the outage");
  await workspace.show("Tasks");
  await workspace.newTask.press("Enter");
  await expect(workspace.task("Typed during the outage")).toBeVisible();
  await expect(workspace.tasks).toHaveCount(2);
  expect(await page.evaluate(() => "samePage" in window)).toBe(true);
});

test("a model that is away fails the answer and nothing else; a retry is recognisable as one", async ({ page, workspace, monitor }) => {
  const keys: (string | undefined)[] = [];
  page.on("request", (request) => {
    if (request.url().endsWith("/api/chat/stream")) keys.push(request.headers()["idempotency-key"]);
  });
  await monitor.tolerate(/status 503|status of 503/, async () => {
    await page.route("**/api/chat/stream", (route) =>
      route.fulfill({ status: 503, contentType: "application/problem+json", headers: { "retry-after": "5" }, body: JSON.stringify({ title: "Service Unavailable", status: 503, detail: "The model cannot be reached." }) }),
    );
    await workspace.show("Assistant");
    await workspace.message.fill("add a task: buy milk");
    await workspace.message.press("Enter");
    await expect(workspace.answers.getByRole("alert")).toHaveText(/The model cannot be reached/);
    await expect(page.locator(".outage")).toBeHidden();
    await page.unroute("**/api/chat/stream");
  });
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(workspace.answers.locator(".rich-text")).toContainText("buy milk");
  await expect(workspace.answers).toHaveCount(1);
  expect(keys).toHaveLength(2);
  expect(keys[0]).toBeTruthy();
  expect(keys[1]).toBe(keys[0]);
  await workspace.show("Tasks");
  await expect(workspace.tasks).toHaveCount(1);
});

test("an answer that breaks off says so, and one that hangs can be stopped", async ({ page, workspace, monitor }) => {
  await workspace.show("Assistant");
  await page.route("**/api/chat/stream", (route) => route.fulfill({ contentType: "text/event-stream", body: 'event: delta\ndata: {"text":"Half a"}\n\n' }));
  await workspace.message.fill("list my tasks");
  await workspace.message.press("Enter");
  await expect(workspace.answers.getByRole("alert")).toHaveText(/broke off/);
  await expect(workspace.answers).toContainText("Half a");
  await page.unroute("**/api/chat/stream");

  await monitor.tolerate(/ERR_ABORTED/, async () => {
    await page.route("**/api/chat/stream", () => undefined); // never answered
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("button", { name: "Stop answering" }).click();
    await expect(page.getByText("You stopped this answer.")).toBeVisible();
  });
  await page.unroute("**/api/chat/stream");
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(workspace.answers.locator(".rich-text")).toContainText(/task/);
});

test("a session that ended elsewhere leads back to signing in", async ({ page, workspace, account, monitor }) => {
  await workspace.add("Before");
  const session = (await page.context().cookies()).filter(({ name }) => name.includes("session"));
  await page.context().clearCookies();
  await page.route(BACKEND, (route) => route.fulfill({ status: 401, contentType: "application/problem+json", body: '{"status":401}' }));
  await monitor.tolerate(/status 401|status of 401/, async () => {
    await workspace.newTask.fill("After");
    await workspace.newTask.press("Enter");
    await expect(page.getByText("Your session has ended. Sign in to go on.")).toBeVisible();
  });
  await page.unroute(BACKEND);
  expect(session, "the session was in a cookie").not.toEqual([]);
  await page.getByLabel("E-mail").fill(account.email);
  await page.getByRole("textbox", { name: "Password" }).fill(account.password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(workspace.task("Before")).toBeVisible();
  await monitor.idle();
});

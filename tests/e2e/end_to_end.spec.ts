import { expect, test, Workspace } from "./support/fixtures.ts";

test("from signing up to signing out", async ({ page, account, monitor, picture }) => {
  const workspace = new Workspace(page);

  await test.step("sign up", async () => {
    await page.goto("/");
    await expect(page).toHaveTitle(/Berth/);
    await expect(page.getByRole("heading", { name: "Welcome back" })).toBeVisible();
    await picture("sign-in");
    await page.getByRole("button", { name: "Create an account" }).click();
    await page.getByLabel("Name").fill(account.name);
    await page.getByLabel("E-mail").fill(account.email);
    await page.getByRole("textbox", { name: "Password" }).fill(account.password);
    await page.getByRole("button", { name: "Create account" }).click();
    await expect(page.getByText("A clean slate")).toBeVisible();
    await picture("empty");
  });

  await test.step("keep tasks", async () => {
    await workspace.add("Renew the harbour permit");
    await workspace.add("Order antifouling paint");
    await workspace.add("Call the sailmaker");
    await expect(workspace.tasks).toHaveCount(3);

    await workspace.task("Call the sailmaker").getByRole("checkbox").check();
    await expect(page.getByText("2 open")).toBeVisible();

    await workspace.task("Order antifouling paint").getByRole("button", { name: "Edit" }).click();
    await page.getByRole("textbox", { name: "Title" }).fill("Order copper paint");
    await page.getByRole("textbox", { name: "Details" }).fill("Two tins, red, for the hull");
    await workspace.save();
    await expect(workspace.task("Order copper paint")).toContainText("Two tins, red");

    await page.getByRole("button", { name: "Done", exact: true }).click();
    await expect(workspace.tasks).toHaveCount(1);
    await page.getByRole("button", { name: "Open", exact: true }).click();
    await expect(workspace.tasks).toHaveCount(2);
    await page.getByRole("button", { name: "All", exact: true }).click();

    await page.getByRole("searchbox", { name: "Search tasks" }).fill("permit");
    await expect(workspace.tasks).toHaveCount(1);
    await page.getByRole("searchbox", { name: "Search tasks" }).fill("");
    await expect(workspace.tasks).toHaveCount(3);

    await workspace.task("Renew the harbour permit").getByRole("button", { name: "Delete" }).click();
    await expect(workspace.tasks).toHaveCount(2);
    await page.getByRole("button", { name: "Undo" }).click();
    await expect(workspace.task("Renew the harbour permit")).toBeVisible();
  });

  await test.step("chat with tool calls", async () => {
    const answer = await workspace.ask("add a task: buy milk");
    await expect(answer.locator("summary")).toContainText("add_task");
    await answer.locator("summary").click();
    await expect(answer.locator("pre").first()).toContainText("buy milk");
    const [inside, all] = await answer.evaluate((message) => [message.clientWidth, message.scrollWidth]);
    expect(all, "an open tool call is as wide as its message").toBeLessThanOrEqual(inside);
    await answer.locator("summary").click();
    await workspace.ask("list my tasks");
    await picture("chat");
    await workspace.show("Tasks");
    await expect(workspace.task("buy milk")).toBeVisible();
    await picture("workspace");
  });

  await test.step("reload: session, tasks and conversation are still there", async () => {
    await monitor.idle();
    await page.reload();
    await expect(workspace.task("buy milk")).toBeVisible();
    await workspace.show("Assistant");
    await expect(page.getByText("add a task: buy milk", { exact: true })).toBeVisible();
  });

  await test.step("history", async () => {
    await page.getByRole("button", { name: "New chat" }).click();
    await expect(page.getByText("What can I take off your mind?")).toBeVisible();
    await page.getByRole("button", { name: "History", exact: true }).click();
    const conversations = page.locator(".conversations").getByRole("listitem");
    await expect(conversations).toHaveCount(1);
    await picture("history");
    await conversations.getByRole("button").first().click();
    await expect(conversations).toHaveCount(0);
    await expect(page.locator(".message.user").first()).toHaveText(/add a task: buy milk/);
    await page.getByRole("button", { name: "History", exact: true }).click();
    await conversations.getByRole("button", { name: "Delete conversation" }).click();
    await expect(page.getByText("No conversations yet.")).toBeVisible();
    await page.getByRole("button", { name: "Close history" }).click();
    await expect(page.getByText("What can I take off your mind?")).toBeVisible();
  });

  await test.step("sign out and in again", async () => {
    await page.getByRole("button", { name: "Sign out" }).click();
    await expect(page.getByRole("heading", { name: "Welcome back" })).toBeVisible();
    await monitor.idle();
    await page.reload();
    await expect(page.getByRole("heading", { name: "Welcome back" })).toBeVisible();
    await page.getByLabel("E-mail").fill(account.email);
    await page.getByRole("textbox", { name: "Password" }).fill(account.password);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await expect(workspace.tasks).toHaveCount(4);
    await monitor.idle();
  });
});

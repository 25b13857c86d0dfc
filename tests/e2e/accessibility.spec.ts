import { expectAccessible } from "./support/accessibility.ts";
import { expect, test } from "./support/fixtures.ts";

for (const scheme of ["light", "dark"] as const) {
  test.describe(scheme, () => {
    test.use({ colorScheme: scheme });

    test("signing in is accessible", async ({ page, monitor, picture }) => {
      await page.goto("/");
      await expect(page.getByRole("button", { name: "Sign in", exact: true })).toBeEnabled();
      await expectAccessible(page, "sign-in");
      await picture(`sign-in-${scheme}`);
      await page.getByRole("button", { name: "Create an account" }).click();
      await page.getByLabel("Name").fill("Nobody");
      await page.getByLabel("E-mail").fill("nobody@example.org");
      await page.getByRole("textbox", { name: "Password" }).fill("long enough");
      await expectAccessible(page, "sign-up");

      await page.getByRole("button", { name: "Sign in instead" }).click();
      await page.getByLabel("E-mail").fill("nobody@example.org");
      await page.getByRole("textbox", { name: "Password" }).fill("not the password");
      await monitor.tolerate(/status 401|status of 401/, async () => {
        await page.getByRole("button", { name: "Sign in", exact: true }).click();
        await expect(page.getByRole("alert").filter({ hasText: "do not match" })).toBeVisible();
      });
      await expect(page.getByLabel("E-mail")).toBeFocused();
      await expectAccessible(page, "a refused sign-in");
    });

    test("the workspace is accessible", async ({ page, workspace, picture }) => {
      await expectAccessible(page, "an empty workspace");
      await workspace.add("Renew the harbour permit");
      await workspace.add("Call the sailmaker");
      await workspace.add("Order antifouling paint");
      await workspace.task("Call the sailmaker").getByRole("checkbox").check();
      await workspace.task("Order antifouling paint").getByRole("button", { name: "Edit" }).click();
      await expectAccessible(page, "editing a task");
      await page.getByRole("textbox", { name: "Details" }).fill("Two tins, red, for the hull");
      await workspace.save();
      await expect(page.getByText("Two tins")).toBeVisible();
      await workspace.task("Renew the harbour permit").getByRole("button", { name: "Delete" }).click();
      await expect(page.getByRole("button", { name: "Undo" })).toBeVisible();
      await expectAccessible(page, "an undo");
      await page.getByRole("button", { name: "Undo" }).click();

      await workspace.ask("add a task: buy milk");
      const answer = await workspace.ask("complete buy milk");
      await answer.locator("summary").first().click();
      await expect(answer.locator("pre").first()).toBeVisible();
      await expectAccessible(page, "a chat with tool calls");
      await picture(`chat-${scheme}`);
      await page.getByRole("button", { name: "History", exact: true }).click();
      await expect(page.locator(".conversations li")).toHaveCount(1);
      await expectAccessible(page, "the history");
      await page.keyboard.press("Escape");
      await expect(page.getByRole("button", { name: "History", exact: true })).toBeFocused();

      await workspace.show("Tasks");
      await expect(workspace.task("buy milk").getByRole("checkbox")).toBeChecked();
      await expectAccessible(page, "tasks");
      await picture(`workspace-${scheme}`);
    });
  });
}

test("everything can be done from the keyboard", async ({ page, workspace, monitor, isMobile }) => {
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent ?? "");
  const tabTo = async (name: string | RegExp) => {
    for (let presses = 0; presses < 30; presses++) {
      await page.keyboard.press("Tab");
      if ((await focused()).match(name)) return;
    }
    throw new Error(`the Tab key does not reach ${name}`);
  };

  await monitor.idle();
  await page.keyboard.press("Tab");
  expect(await focused()).toBe("Skip to your tasks");
  await page.keyboard.press("Enter");
  await expect(workspace.newTask).toBeFocused();
  await page.keyboard.type("Swab the deck");
  await page.keyboard.press("Enter");
  await expect(workspace.task("Swab the deck")).toBeVisible();
  await expect(page.getByRole("status").filter({ hasText: "Added: Swab the deck" })).toBeAttached();
  await expect(workspace.newTask).toBeFocused();

  await tabTo(/Edit Swab the deck/);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("textbox", { name: "Title" })).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("button", { name: "Edit Swab the deck" })).toBeFocused();

  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Space");
  await expect(workspace.task("Swab the deck").getByRole("checkbox")).toBeChecked();

  await tabTo(/Delete Swab the deck/);
  await page.keyboard.press("Enter");
  await expect(page.getByText("A clean slate")).toBeVisible();
  await expect(workspace.newTask).toBeFocused(); // the row that had the focus is gone

  if (isMobile) await workspace.show("Assistant");
  await tabTo(/Message to the assistant/);
  await page.keyboard.type("list my tasks");
  await page.keyboard.press("Enter");
  await expect(workspace.answers.locator(".rich-text")).toBeVisible();
  await expect(workspace.message).toBeFocused();
});

test("the theme follows the choice, from the first byte on", async ({ page, workspace, monitor }) => {
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await expect(workspace.newTask).toBeVisible();
  const light = await background();
  await page.getByRole("button", { name: "Switch between light and dark" }).click();
  const dark = await background();
  expect(dark).not.toBe(light);
  await monitor.idle();
  const response = await page.reload();
  expect(await response?.text()).toMatch(/<html[^>]* data-theme="dark"/);
  await expect(workspace.newTask).toBeVisible();
  expect(await background()).toBe(dark);
  await page.getByRole("button", { name: "Switch between light and dark" }).click();
  expect(await background()).toBe(light);
});

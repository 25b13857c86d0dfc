import { mkdirSync } from "node:fs";
import path from "node:path";
import { type APIRequestContext, test as base, expect, type Locator, type Page } from "@playwright/test";
import { Monitor } from "./monitor.ts";

export interface Account {
  name: string;
  email: string;
  password: string;
}

interface Fixtures {
  /** Watches `page`; the test fails for what it has seen. */
  monitor: Monitor;
  /** Somebody new; whatever the test made of the account is removed after it. */
  account: Account;
  /** Signed in by the interface's own requests, on the page. */
  workspace: Workspace;
  /** Keep a picture of the page under reports/screenshots/. */
  picture: (name: string) => Promise<void>;
}

export const test = base.extend<Fixtures>({
  monitor: [
    async ({ page }, use) => {
      const monitor = new Monitor(page);
      await use(monitor);
      expect(monitor.problems, "console errors, exceptions and failed requests").toEqual([]);
    },
    { auto: true },
  ],

  account: async ({ page, baseURL }, use) => {
    const account = { name: "Ada Lovelace", email: `e2e-${crypto.randomUUID()}@example.org`, password: `pw-${crypto.randomUUID()}` };
    await use(account);
    await removeAccount(page.context().request, account, baseURL ?? "");
  },

  workspace: async ({ page, account, baseURL }, use) => {
    const response = await page.request.post("/api/auth/sign-up/email", { data: account, headers: { origin: baseURL ?? "" } });
    expect(response.status(), await response.text()).toBe(200);
    await page.goto("/");
    const workspace = new Workspace(page);
    await expect(workspace.newTask).toBeVisible();
    await use(workspace);
  },

  picture: async ({ page }, use, testInfo) => {
    const directory = path.join(String(testInfo.config.metadata.reports), "screenshots");
    mkdirSync(directory, { recursive: true });
    await use(async (name) => {
      await page.evaluate(() => document.fonts.ready);
      await page.screenshot({ path: path.join(directory, `${name}-${testInfo.project.name}.png`), animations: "disabled", caret: "hide" });
    });
  },
});

export { expect };

/** The page of somebody who is signed in, in the user's terms. */
export class Workspace {
  readonly newTask: Locator;
  readonly tasks: Locator;
  readonly message: Locator;
  readonly answers: Locator;

  constructor(readonly page: Page) {
    this.newTask = page.getByRole("textbox", { name: "New task" });
    this.tasks = page.getByRole("list", { name: "Tasks" }).getByRole("listitem");
    this.message = page.getByRole("textbox", { name: "Message to the assistant" });
    this.answers = page.locator(".message.assistant");
  }

  task(title: string): Locator {
    return this.tasks.filter({ has: this.page.getByText(title, { exact: true }) });
  }

  async add(title: string): Promise<void> {
    await this.show("Tasks");
    await this.newTask.fill(title);
    await this.newTask.press("Enter");
    await expect(this.task(title)).toBeVisible();
  }

  /** Save the task that is being edited and wait for its form to close: the rows below it move when it does. */
  async save(): Promise<void> {
    const save = this.page.getByRole("button", { name: "Save" });
    await save.click();
    await expect(save).toBeHidden();
  }

  /** Bring a panel to the front where only one fits. */
  async show(view: "Tasks" | "Assistant"): Promise<void> {
    const tab = this.page.getByRole("navigation", { name: "Views" }).getByRole("button", { name: view });
    if (await tab.isVisible()) await tab.click();
  }

  /** Send a message and wait for the whole answer. */
  async ask(message: string): Promise<Locator> {
    await this.show("Assistant");
    const before = await this.answers.count();
    await this.message.fill(message);
    await this.message.press("Enter");
    const answer = this.answers.nth(before);
    await expect(answer.locator(".rich-text")).toBeVisible();
    await expect(this.page.getByRole("button", { name: "Send message" })).toBeVisible();
    return answer;
  }
}

/** Delete what belongs to the account by the public interface, then the account. */
async function removeAccount(request: APIRequestContext, { email, password }: Account, origin: string): Promise<void> {
  const options = { headers: { origin }, maxRetries: 2 }; // an idle connection may be closed by the other side at any time
  const signedIn = await request.post("/api/auth/sign-in/email", { ...options, data: { email, password } });
  if (signedIn.status() === 401) return; // never created
  expect(signedIn.status(), "sign in to clean up").toBe(200);
  const { token } = (await (await request.get("/api/auth/token", options)).json()) as { token: string };
  const asUser = { ...options, headers: { authorization: `Bearer ${token}` } };
  for (const kind of ["tasks", "conversations"]) {
    const { items } = (await (await request.get(`/api/${kind}?limit=100`, asUser)).json()) as { items: { id: string }[] };
    await Promise.all(items.map(({ id }) => request.delete(`/api/${kind}/${id}`, asUser)));
  }
  const deleted = await request.post("/api/auth/delete-user", { ...options, data: { password } });
  expect(deleted.status(), "delete the account").toBe(200);
}

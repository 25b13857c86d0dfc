import { expect, type Page, type Request } from "@playwright/test";

const QUIET_MS = 250;

/** Everything that a page does wrong behind the user's back: console errors and warnings, exceptions, requests that fail. */
export class Monitor {
  readonly #problems: string[] = [];
  readonly #running = new Set<Request>();
  #tolerated: RegExp | undefined;

  constructor(page: Page) {
    page.on("request", (request) => this.#running.add(request));
    page.on("requestfinished", (request) => this.#running.delete(request));
    page.on("requestfailed", (request) => this.#running.delete(request));
    page.on("console", (message) => {
      if (["error", "warning", "assert"].includes(message.type())) this.#note(`console ${message.type()}: ${message.text()} (${message.location().url})`);
    });
    page.on("pageerror", (error) => this.#note(`exception: ${error.stack ?? error.message}`));
    page.on("requestfailed", (request) => this.#note(`request failed: ${request.method()} ${request.url()} ${request.failure()?.errorText}`));
    page.on("response", (response) => {
      if (response.status() >= 400) this.#note(`status ${response.status()}: ${response.request().method()} ${response.url()}`);
    });
  }

  /** Problems that match are not counted while `work` runs: it causes them on purpose. */
  async tolerate<T>(pattern: RegExp, work: () => Promise<T>): Promise<T> {
    this.#tolerated = pattern;
    try {
      return await work();
    } finally {
      await this.idle();
      this.#tolerated = undefined;
    }
  }

  /** Wait until no request has been running for a moment, as leaving the page cuts off what still runs. */
  async idle(): Promise<void> {
    let quietSince = Date.now();
    await expect
      .poll(() => {
        if (this.#running.size > 0) quietSince = Date.now();
        return Date.now() - quietSince;
      }, { intervals: [50], message: "requests that do not end" })
      .toBeGreaterThan(QUIET_MS);
  }

  get problems(): readonly string[] {
    return this.#problems;
  }

  #note(problem: string): void {
    if (!this.#tolerated?.test(problem)) this.#problems.push(problem);
  }
}

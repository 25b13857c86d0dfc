/** An abort signal that fires when `milliseconds` pass without a sign of life. */
export class Deadline {
  readonly #controller = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly milliseconds: number) {
    this.extend();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get passed(): boolean {
    return this.#controller.signal.aborted;
  }

  /** Start counting anew. */
  extend(): void {
    this.clear();
    this.#timer = setTimeout(() => this.#controller.abort(), this.milliseconds);
  }

  clear(): void {
    clearTimeout(this.#timer);
  }
}

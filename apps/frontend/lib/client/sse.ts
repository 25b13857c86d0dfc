export interface ServerSentEvent {
  event: string;
  data: string;
}

/** Splits text that arrives in arbitrary pieces into events, by the rules of the HTML standard's event streams. */
export class EventStreamParser {
  #buffer = "";
  #event = "";
  #data: string[] = [];

  /** Take the next piece and return the events that it completes. An unfinished event at the end is, by the standard, dropped. */
  push(text: string): ServerSentEvent[] {
    const events: ServerSentEvent[] = [];
    this.#buffer += text;
    for (;;) {
      const end = /\r\n|\n|\r(?!$)/.exec(this.#buffer); // a carriage return at the end may yet be half of a line break
      if (!end) return events;
      const line = this.#buffer.slice(0, end.index);
      this.#buffer = this.#buffer.slice(end.index + end[0].length);
      if (line === "") {
        if (this.#data.length > 0) events.push({ event: this.#event || "message", data: this.#data.join("\n") });
        this.#event = "";
        this.#data = [];
      } else {
        this.#field(line);
      }
    }
  }

  #field(line: string): void {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon); // an empty name is a comment: the server's keep-alive
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#event = value;
    else if (name === "data") this.#data.push(value);
  }
}

/**
 * The events of a response body, as they arrive.
 *
 * @param onActivity called for each piece, also for the comments that only keep the connection alive
 */
export async function* readEvents(body: ReadableStream<Uint8Array>, onActivity: () => void = () => undefined): AsyncGenerator<ServerSentEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new EventStreamParser();
  let ended = false;
  try {
    while (!ended) {
      const { done, value } = await reader.read();
      ended = done;
      onActivity();
      if (value) yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    // Only where the reader left early: cancelling at the very end can still count as aborting the request.
    if (!ended) await reader.cancel().catch(() => undefined);
  }
}

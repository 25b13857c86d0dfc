import { Connection } from "./connection.ts";
import { Deadline } from "./deadline.ts";
import { ApiError, errorFrom } from "./errors.ts";
import { readEvents, type ServerSentEvent } from "./sse.ts";
import { TokenSource } from "./token.ts";
import type { Conversation, ConversationSummary, Page, Task, TaskChange, TaskDraft } from "./types.ts";

/** A paused server accepts connections and never answers: without a limit nobody would notice. */
const ANSWER_MS = 10_000;
/** Above the backend's keep-alive comments (15 s) and its queue (30 s). */
const STREAM_SILENCE_MS = 45_000;

export interface TaskQuery {
  limit: number;
  offset?: number;
  completed?: boolean;
  q?: string;
}

export interface ChatRequest {
  message: string;
  conversationId: string | undefined;
  /** The same for a retry. */
  idempotencyKey: string;
  signal: AbortSignal;
}

interface CallOptions {
  method?: string;
  body?: unknown;
  accept?: string;
  signal?: AbortSignal;
  /** How long to wait, where the caller goes on watching after the headers have come. */
  deadline?: Deadline;
  /** Names the attempt: the backend carries out what comes twice under one key only once. */
  idempotencyKey?: string;
}

/** One request on this origin. No answer becomes an ApiError of status 0; an aborted request stays an AbortError. */
export async function send(path: string, { method = "GET", body, accept = "application/json", signal, deadline, idempotencyKey }: CallOptions = {}, token?: string): Promise<Response> {
  const headers = new Headers({ accept });
  if (token) headers.set("authorization", `Bearer ${token}`);
  if (body !== undefined) headers.set("content-type", "application/json");
  if (idempotencyKey) headers.set("idempotency-key", idempotencyKey);
  const limit = deadline ?? new Deadline(ANSWER_MS);
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit.signal]) : limit.signal,
      cache: "no-store",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, limit.passed ? "The server takes too long to answer." : "The server cannot be reached.");
  } finally {
    if (!deadline) limit.clear();
  }
  if (!response.ok) throw await errorFrom(response);
  return response;
}

/** The backend as the signed-in user. */
export class Api {
  readonly connection = new Connection();
  readonly #tokens = new TokenSource(async () => {
    const response = await send("/api/auth/token");
    return ((await response.json()) as { token: string }).token;
  });

  /** @param onSignedOut called when the session turns out to be over. */
  constructor(private readonly onSignedOut: () => void) {}

  listTasks({ limit, offset = 0, completed, q }: TaskQuery): Promise<Page<Task>> {
    const query = new URLSearchParams({ limit: String(limit), offset: String(offset) });
    if (completed !== undefined) query.set("completed", String(completed));
    if (q) query.set("q", q);
    return this.#json(`/api/tasks?${query}`);
  }

  addTask(draft: TaskDraft, idempotencyKey: string): Promise<Task> {
    return this.#json("/api/tasks", { method: "POST", body: draft, idempotencyKey });
  }

  changeTask(id: string, change: TaskChange): Promise<Task> {
    return this.#json(`/api/tasks/${encodeURIComponent(id)}`, { method: "PATCH", body: change });
  }

  async deleteTask(id: string): Promise<void> {
    await this.#call(`/api/tasks/${encodeURIComponent(id)}`, { method: "DELETE" });
  }

  listConversations(limit = 50): Promise<Page<ConversationSummary>> {
    return this.#json(`/api/conversations?limit=${limit}`);
  }

  readConversation(id: string): Promise<Conversation> {
    return this.#json(`/api/conversations/${encodeURIComponent(id)}`);
  }

  async deleteConversation(id: string): Promise<void> {
    await this.#call(`/api/conversations/${encodeURIComponent(id)}`, { method: "DELETE" });
  }

  /** Send a message and yield the events of the answer as they come. */
  async *chat({ message, conversationId, idempotencyKey, signal }: ChatRequest): AsyncGenerator<ServerSentEvent> {
    const body = conversationId ? { message, conversation_id: conversationId } : { message };
    const deadline = new Deadline(STREAM_SILENCE_MS);
    try {
      const response = await this.#call("/api/chat/stream", { method: "POST", body, accept: "text/event-stream", signal, deadline, idempotencyKey });
      yield* this.#events(response, signal, deadline);
    } finally {
      deadline.clear();
    }
  }

  async *#events(response: Response, signal: AbortSignal, deadline: Deadline): AsyncGenerator<ServerSentEvent> {
    if (!response.body) throw new ApiError(502, "The server sent no answer.");
    // Chromium reports a `no-store` answer that is read in pieces as an aborted request at its very end. A second reader that
    // takes it as a whole prevents that.
    void response.clone().text().catch(() => undefined);
    try {
      yield* readEvents(response.body, () => deadline.extend());
    } catch (error) {
      if (signal.aborted || error instanceof ApiError) throw error;
      this.connection.lost();
      throw new ApiError(0, "The connection was lost while the answer was on its way.");
    }
  }

  async #json<T>(path: string, options?: CallOptions): Promise<T> {
    const response = await this.#call(path, options);
    return (await response.json()) as T;
  }

  /** Send with a token; a rejected one is replaced once. Reports the outcome to the connection. */
  async #call(path: string, options: CallOptions = {}): Promise<Response> {
    try {
      const response = await this.#authorized(path, options);
      this.connection.restored();
      return response;
    } catch (error) {
      if (error instanceof ApiError) {
        if (error.signedOut) this.onSignedOut();
        // When only the model is away, chat answers 503 and everything else goes on.
        else if (error.unavailable && !(error.status === 503 && path.startsWith("/api/chat"))) this.connection.lost();
      }
      throw error;
    }
  }

  async #authorized(path: string, options: CallOptions): Promise<Response> {
    const token = await this.#tokens.get();
    try {
      return await send(path, options, token);
    } catch (error) {
      if (!(error instanceof ApiError && error.signedOut)) throw error;
      this.#tokens.discard(token);
      return send(path, options, await this.#tokens.get());
    }
  }
}

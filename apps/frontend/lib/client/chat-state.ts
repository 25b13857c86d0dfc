import type { ServerSentEvent } from "./sse.ts";
import type { Conversation, ToolCall } from "./types.ts";

export interface ChatMessage {
  key: string;
  role: "user" | "assistant";
  text: string;
  toolCalls: ToolCall[];
  /** `pending`: the answer is still coming; `stopped`: the user ended it; `failed`: see `error`. */
  state: "done" | "pending" | "stopped" | "failed";
  error?: string;
}

export interface ChatState {
  conversationId: string | undefined;
  messages: ChatMessage[];
  /** Older messages exist that are not shown. */
  truncated: boolean;
}

export type ChatAction =
  | { type: "cleared" }
  | { type: "opened"; conversation: Conversation }
  /** `key` names the new pair of messages. */
  | { type: "asked"; key: string; text: string }
  /** Drop the last answer and wait for another to the same question. */
  | { type: "asked-again" }
  | { type: "event"; event: ServerSentEvent }
  | { type: "stopped" }
  | { type: "failed"; error: string };

export const emptyChat: ChatState = { conversationId: undefined, messages: [], truncated: false };

const answerTo = (key: string): ChatMessage => ({ key: `${key}-answer`, role: "assistant", text: "", toolCalls: [], state: "pending" });

/** The conversation on the screen after `action`; unknown events leave it as it is. */
export function chatReducer(state: ChatState, action: ChatAction): ChatState {
  switch (action.type) {
    case "cleared":
      return emptyChat;
    case "opened":
      return { conversationId: action.conversation.id, messages: fromStored(action.conversation), truncated: action.conversation.truncated };
    case "asked":
      return {
        ...state,
        messages: [...state.messages, { key: action.key, role: "user", text: action.text, toolCalls: [], state: "done" }, answerTo(action.key)],
      };
    case "asked-again": {
      const question = state.messages.findLast((message) => message.role === "user");
      return question ? { ...state, messages: [...state.messages.slice(0, state.messages.indexOf(question) + 1), answerTo(question.key)] } : state;
    }
    case "event":
      return received(state, action.event);
    case "stopped":
      return changeAnswer(state, () => ({ state: "stopped" }));
    case "failed":
      return changeAnswer(state, () => ({ state: "failed", error: action.error }));
  }
}

function received(state: ChatState, { event, data }: ServerSentEvent): ChatState {
  const payload = parse(data);
  switch (event) {
    case "conversation":
      return { ...state, conversationId: text(payload.conversation_id) ?? state.conversationId };
    case "delta":
      return changeAnswer(state, (answer) => ({ text: answer.text + (text(payload.text) ?? "") }));
    case "tool_call": {
      const call: ToolCall = { id: text(payload.id), name: text(payload.name) ?? "tool", arguments: record(payload.arguments) };
      return changeAnswer(state, (answer) => ({ toolCalls: [...answer.toolCalls, call] }));
    }
    case "tool_result":
      return changeAnswer(state, (answer) => ({
        toolCalls: answer.toolCalls.map((call) => (call.id === payload.id ? { ...call, result: payload.result } : call)),
      }));
    case "done": {
      const reply = text(payload.reply);
      const next = changeAnswer(state, (answer) => ({
        state: "done",
        text: reply || answer.text,
        toolCalls: Array.isArray(payload.tool_calls) && payload.tool_calls.length > 0 ? (payload.tool_calls as ToolCall[]) : answer.toolCalls,
      }));
      return { ...next, conversationId: text(payload.conversation_id) ?? next.conversationId };
    }
    case "error":
      return changeAnswer(state, () => ({ state: "failed", error: text(payload.detail) ?? text(payload.title) ?? "The assistant could not answer." }));
    default:
      return state;
  }
}

/** Change the answer that is on its way; there is none once it is done, stopped or failed. */
function changeAnswer(state: ChatState, change: (answer: ChatMessage) => Partial<ChatMessage>): ChatState {
  const answer = state.messages.at(-1);
  if (answer?.state !== "pending") return state;
  return { ...state, messages: [...state.messages.slice(0, -1), { ...answer, ...change(answer) }] };
}

function fromStored(conversation: Conversation): ChatMessage[] {
  return conversation.messages.map((message, index) => ({
    key: `${conversation.id}-${index}`,
    role: message.role,
    text: message.content,
    toolCalls: message.tool_calls,
    state: "done",
  }));
}

function parse(data: string): Record<string, unknown> {
  try {
    return record(JSON.parse(data));
  } catch {
    return {};
  }
}

const record = (value: unknown): Record<string, unknown> => (typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {});
const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

/** What the backend's HTTP interface carries. */

export interface User {
  id: string;
  name: string;
  email: string;
}

export interface Task {
  id: string;
  title: string;
  description: string | null;
  completed: boolean;
  created_at: string;
  updated_at: string;
}

export type TaskDraft = Pick<Task, "title" | "description"> & Partial<Pick<Task, "completed">>;
export type TaskChange = Partial<TaskDraft>;

export interface Page<T> {
  items: T[];
  total: number;
  limit: number;
  offset: number;
}

export interface ToolCall {
  id?: string;
  name: string;
  arguments: Record<string, unknown>;
  result?: unknown;
}

export interface ConversationSummary {
  id: string;
  title: string;
  created_at: string;
  updated_at: string;
}

export interface StoredMessage {
  role: "user" | "assistant";
  content: string;
  tool_calls: ToolCall[];
  created_at: string;
}

export interface Conversation extends ConversationSummary {
  messages: StoredMessage[];
  /** Whether older messages were left out. */
  truncated: boolean;
}

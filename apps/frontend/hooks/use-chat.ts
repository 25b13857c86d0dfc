import { useCallback, useEffect, useReducer, useRef } from "react";
import type { Api } from "@/lib/client/api";
import { chatReducer, type ChatState, emptyChat } from "@/lib/client/chat-state";
import { ApiError, messageOf } from "@/lib/client/errors";
import { newKey } from "@/lib/client/key";

const REMEMBERED = "berth.conversation";

export interface Chat extends ChatState {
  /** An answer is on its way. */
  busy: boolean;
  ask: (text: string) => void;
  retry: () => void;
  stop: () => void;
  open: (conversationId: string) => Promise<void>;
  clear: () => void;
}

/**
 * One conversation at a time; the tab remembers which, so that a reload finds it again.
 *
 * @param epoch grows when the server comes back: a conversation that could not be read is tried again
 * @param onTool called after each tool call's result: data may have changed
 * @param onAnswered called with the whole answer, or undefined where there is none
 */
export function useChat(api: Api, epoch: number, onTool: () => void, onAnswered: (reply: string | undefined) => void): Chat {
  const [state, dispatch] = useReducer(chatReducer, emptyChat);
  const running = useRef<AbortController>(undefined);
  const current = useRef(state);
  current.current = state;
  const busy = state.messages.at(-1)?.state === "pending";

  const answer = useCallback(
    async (message: string, idempotencyKey: string) => {
      const controller = new AbortController();
      const { signal } = controller;
      running.current = controller;
      let finished = false;
      let reply: string | undefined;
      try {
        const { conversationId } = current.current;
        for await (const event of api.chat({ message, conversationId, idempotencyKey, signal })) {
          if (signal.aborted) break;
          dispatch({ type: "event", event });
          if (event.event === "tool_result") onTool();
          if (event.event === "done") reply = (JSON.parse(event.data) as { reply?: string }).reply ?? "";
          finished ||= event.event === "done" || event.event === "error";
        }
        if (!finished && !signal.aborted) throw new ApiError(502, "The answer broke off.");
      } catch (error) {
        if (!signal.aborted) dispatch({ type: "failed", error: messageOf(error) });
      } finally {
        if (running.current === controller) running.current = undefined;
        onAnswered(reply);
      }
    },
    [api, onAnswered, onTool],
  );

  const ask = useCallback(
    (text: string) => {
      if (running.current) return;
      const key = newKey();
      dispatch({ type: "asked", key, text });
      void answer(text, key);
    },
    [answer],
  );

  const retry = useCallback(() => {
    const question = current.current.messages.findLast((message) => message.role === "user");
    if (!question || running.current) return;
    dispatch({ type: "asked-again" });
    void answer(question.text, question.key);
  }, [answer]);

  const abort = useCallback(() => {
    running.current?.abort();
    running.current = undefined;
  }, []);

  const stop = useCallback(() => {
    abort();
    dispatch({ type: "stopped" });
  }, [abort]);

  const clear = useCallback(() => {
    abort();
    sessionStorage.removeItem(REMEMBERED);
    dispatch({ type: "cleared" });
  }, [abort]);

  const open = useCallback(
    async (conversationId: string) => {
      const conversation = await api.readConversation(conversationId);
      abort();
      dispatch({ type: "opened", conversation });
    },
    [abort, api],
  );

  useEffect(() => {
    const remembered = sessionStorage.getItem(REMEMBERED);
    if (!remembered || current.current.messages.length > 0) return;
    api.readConversation(remembered).then(
      (conversation) => {
        // Whoever has begun to talk meanwhile wants to go on with that.
        if (current.current.messages.length === 0) dispatch({ type: "opened", conversation });
      },
      (error: unknown) => {
        if (error instanceof ApiError && error.status === 404) sessionStorage.removeItem(REMEMBERED);
      },
    );
  }, [api, epoch]);

  useEffect(() => {
    if (state.conversationId) sessionStorage.setItem(REMEMBERED, state.conversationId);
  }, [state.conversationId]);

  useEffect(() => abort, [abort]);

  return { ...state, busy, ask, retry, stop, open, clear };
}

"use client";

import { type FormEvent, type KeyboardEvent, useEffect, useId, useRef, useState } from "react";
import type { Chat } from "@/hooks/use-chat";
import type { Api } from "@/lib/client/api";
import { ChatMessageView } from "./chat-message";
import { ConversationList } from "./conversation-list";
import { HistoryIcon, PlusIcon, SendIcon, SparkIcon, StopIcon } from "./icons";

const SUGGESTIONS = ["Add a task: buy milk", "List my open tasks", "Complete buy milk"];
const MESSAGE_LENGTH = 4000;
/** Closer to the end than this, the view follows the answer as it grows. */
const FOLLOW_PIXELS = 80;

interface ChatPanelProps {
  api: Api;
  chat: Chat;
  epoch: number;
  /** Changes when the history may have: after each answer. */
  historyTurn: number;
}

export function ChatPanel({ api, chat, epoch, historyTurn }: ChatPanelProps) {
  const id = useId();
  const [historyOpen, setHistoryOpen] = useState(false);
  const [draft, setDraft] = useState("");
  const input = useRef<HTMLTextAreaElement>(null);
  const historyButton = useRef<HTMLButtonElement>(null);
  const log = useRef<HTMLDivElement>(null);
  const following = useRef(true);

  useEffect(() => {
    const view = log.current;
    if (view && following.current) view.scrollTop = view.scrollHeight;
  }, [chat.messages]);

  function send(text: string): void {
    const message = text.trim();
    if (message === "" || chat.busy) return;
    following.current = true;
    chat.ask(message);
    setDraft("");
    input.current?.focus();
  }

  function submit(event: FormEvent): void {
    event.preventDefault();
    send(draft);
  }

  function keys(event: KeyboardEvent<HTMLTextAreaElement>): void {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send(draft);
  }

  function startNew(): void {
    chat.clear();
    setHistoryOpen(false);
    input.current?.focus();
  }

  function closeHistory(): void {
    setHistoryOpen(false);
    historyButton.current?.focus();
  }

  return (
    <section className="panel chat" aria-labelledby={`${id}-title`}>
      <header className="panel-head">
        <h2 id={`${id}-title`}>Assistant</h2>
        <div className="panel-actions">
          <button ref={historyButton} type="button" className="button quiet" aria-expanded={historyOpen} aria-controls={`${id}-history`} onClick={() => setHistoryOpen(!historyOpen)}>
            <HistoryIcon /> History
          </button>
          <button type="button" className="button quiet" onClick={startNew}>
            <PlusIcon /> New chat
          </button>
        </div>
      </header>

      <div className="chat-body">
        <div id={`${id}-history`} className="history" hidden={!historyOpen}>
          {historyOpen ? (
            <ConversationList
              api={api}
              epoch={epoch}
              turn={historyTurn}
              current={chat.conversationId}
              onOpen={async (conversationId) => {
                following.current = true;
                await chat.open(conversationId);
                setHistoryOpen(false);
                input.current?.focus();
              }}
              onDeleted={(conversationId) => conversationId === chat.conversationId && chat.clear()}
              onClose={closeHistory}
            />
          ) : null}
        </div>
        <div
          ref={log}
          className="scroll chat-log"
          role="region"
          aria-label="Conversation"
          tabIndex={0}
          aria-busy={chat.busy}
          onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
            following.current = scrollHeight - scrollTop - clientHeight < FOLLOW_PIXELS;
          }}
        >
          {chat.messages.length === 0 ? (
            <div className="empty">
              <span className="empty-mark" aria-hidden="true">
                <SparkIcon />
              </span>
              <p className="empty-title">What can I take off your mind?</p>
              <p className="muted">Ask in your own words. Tasks change as we talk.</p>
              <div className="suggestions">
                {SUGGESTIONS.map((suggestion) => (
                  <button key={suggestion} type="button" className="chip" onClick={() => send(suggestion)}>
                    {suggestion}
                  </button>
                ))}
              </div>
            </div>
          ) : (
            <ol className="messages">
              {chat.truncated ? <li className="muted">Older messages are not shown.</li> : null}
              {chat.messages.map((message, index) => (
                <ChatMessageView key={message.key} message={message} onRetry={index === chat.messages.length - 1 ? chat.retry : undefined} />
              ))}
            </ol>
          )}
        </div>
      </div>

      <form className="composer" onSubmit={submit}>
        <textarea
          ref={input}
          id="chat-input"
          aria-label="Message to the assistant"
          placeholder="Ask the assistant…"
          rows={1}
          maxLength={MESSAGE_LENGTH}
          value={draft}
          onChange={(event) => setDraft(event.target.value)}
          onKeyDown={keys}
        />
        {chat.busy ? (
          <button type="button" className="button primary round" onClick={chat.stop} aria-label="Stop answering" title="Stop">
            <StopIcon />
          </button>
        ) : (
          <button type="submit" className="button primary round" disabled={draft.trim() === ""} aria-label="Send message" title="Send">
            <SendIcon />
          </button>
        )}
      </form>
    </section>
  );
}

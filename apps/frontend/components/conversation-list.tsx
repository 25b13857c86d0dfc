"use client";

import { type KeyboardEvent, useCallback, useEffect, useRef, useState } from "react";
import { useAnnounce } from "@/hooks/use-announcer";
import type { Api } from "@/lib/client/api";
import { messageOf } from "@/lib/client/errors";
import type { ConversationSummary } from "@/lib/client/types";
import { relativeTime } from "@/lib/client/time";
import { AlertIcon, CloseIcon, TrashIcon } from "./icons";

interface ConversationListProps {
  api: Api;
  epoch: number;
  turn: number;
  current: string | undefined;
  onOpen: (conversationId: string) => Promise<void>;
  onDeleted: (conversationId: string) => void;
  onClose: () => void;
}

export function ConversationList({ api, epoch, turn, current, onOpen, onDeleted, onClose }: ConversationListProps) {
  const announce = useAnnounce();
  const [items, setItems] = useState<ConversationSummary[]>();
  const [error, setError] = useState<string>();
  const closeButton = useRef<HTMLButtonElement>(null);

  const load = useCallback(async () => {
    try {
      setItems((await api.listConversations()).items);
      setError(undefined);
    } catch (thrown) {
      setError(messageOf(thrown));
    }
  }, [api]);

  useEffect(() => {
    void load();
  }, [load, epoch, turn]);

  useEffect(() => closeButton.current?.focus(), []);

  async function remove({ id, title }: ConversationSummary): Promise<void> {
    try {
      await api.deleteConversation(id);
      onDeleted(id);
      announce(`Deleted: ${title}`);
      await load();
      closeButton.current?.focus();
    } catch (thrown) {
      setError(messageOf(thrown));
    }
  }

  function keys(event: KeyboardEvent): void {
    if (event.key === "Escape") onClose();
  }

  return (
    <div className="history-inner" onKeyDown={keys}>
      <div className="history-head">
        <h3>Earlier conversations</h3>
        <button ref={closeButton} type="button" className="icon-button small" aria-label="Close history" onClick={onClose}>
          <CloseIcon />
        </button>
      </div>
      {error ? (
        <p className="alert danger" role="alert">
          <AlertIcon /> {error}
        </p>
      ) : null}
      {items === undefined ? (
        error ? null : (
          <p className="muted" role="status">
            Loading…
          </p>
        )
      ) : items.length === 0 ? (
        <p className="muted">No conversations yet.</p>
      ) : (
        <ul className="conversations">
          {items.map((conversation) => (
            <li key={conversation.id}>
              <button
                type="button"
                className="conversation"
                aria-current={conversation.id === current ? "true" : undefined}
                onClick={() => void onOpen(conversation.id).catch((thrown: unknown) => setError(messageOf(thrown)))}
              >
                <span className="clip">{conversation.title}</span>
                <time className="muted" dateTime={conversation.updated_at} title={new Date(conversation.updated_at).toLocaleString()}>
                  {relativeTime(conversation.updated_at)}
                </time>
              </button>
              <button type="button" className="icon-button small danger" aria-label={`Delete conversation ${conversation.title}`} title="Delete" onClick={() => void remove(conversation)}>
                <TrashIcon />
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

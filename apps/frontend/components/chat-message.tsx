"use client";

import type { ChatMessage } from "@/lib/client/chat-state";
import type { ToolCall } from "@/lib/client/types";
import { AlertIcon, CheckIcon, ChevronIcon, RetryIcon, SparkIcon, ToolIcon } from "./icons";
import { RichText } from "./rich-text";

/** @param onRetry given for the last message only */
export function ChatMessageView({ message, onRetry }: { message: ChatMessage; onRetry: (() => void) | undefined }) {
  if (message.role === "user") {
    return (
      <li className="message user">
        <span className="visually-hidden">You said: </span>
        <p className="bubble">{message.text}</p>
      </li>
    );
  }
  const { toolCalls, text, state, error } = message;
  return (
    <li className="message assistant">
      <span className="speaker" aria-hidden="true">
        <SparkIcon />
      </span>
      <div className="message-body">
        <span className="visually-hidden">The assistant said: </span>
        {toolCalls.map((call, index) => (
          <ToolCallView key={call.id ?? index} call={call} settled={state !== "pending"} />
        ))}
        {text ? <RichText text={text} /> : null}
        {state === "pending" && !text ? (
          <p className="typing" role="img" aria-label="The assistant is answering">
            <span />
            <span />
            <span />
          </p>
        ) : null}
        {state === "stopped" ? <p className="muted">You stopped this answer.</p> : null}
        {state === "failed" ? (
          <p className="alert danger" role="alert">
            <AlertIcon /> <span>{error}</span>
          </p>
        ) : null}
        {onRetry && (state === "failed" || state === "stopped") ? (
          <button type="button" className="button" onClick={onRetry}>
            <RetryIcon /> Try again
          </button>
        ) : null}
      </div>
    </li>
  );
}

/** What the assistant did, in one line; arguments and result on demand. */
function ToolCallView({ call, settled }: { call: ToolCall; settled: boolean }) {
  const finished = settled || call.result !== undefined;
  return (
    <details className="tool" data-running={!finished || undefined}>
      <summary>
        <ToolIcon />
        <span className="tool-name">{call.name}</span>
        <span className="tool-gist">{gist(call)}</span>
        <span className="tool-state">
          {finished ? <CheckIcon /> : null}
          <span className="visually-hidden">{finished ? "finished" : "running"}</span>
        </span>
        <ChevronIcon className="icon chevron" />
      </summary>
      <dl>
        <dt>Arguments</dt>
        <dd>
          <pre tabIndex={0}>{pretty(call.arguments)}</pre>
        </dd>
        {call.result === undefined ? null : (
          <>
            <dt>Result</dt>
            <dd>
              <pre tabIndex={0}>{pretty(call.result)}</pre>
            </dd>
          </>
        )}
      </dl>
    </details>
  );
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** What the call was about: a title, given or found, else the first words among its arguments. */
function gist({ arguments: given, result }: ToolCall): string {
  const found = typeof result === "object" && result !== null && "title" in result ? result.title : undefined;
  const candidates = [given.title, found, ...Object.values(given)];
  return candidates.find((each): each is string => typeof each === "string" && !UUID.test(each)) ?? "";
}

/** JSON for people; results that are JSON inside a string are unwrapped. */
function pretty(value: unknown): string {
  if (typeof value !== "string") return JSON.stringify(value, null, 2);
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
}

"use client";

import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { useAnnounce } from "@/hooks/use-announcer";
import { useChat } from "@/hooks/use-chat";
import { type Filter, useTasks } from "@/hooks/use-tasks";
import { Api } from "@/lib/client/api";
import { messageOf } from "@/lib/client/errors";
import type { User } from "@/lib/client/types";
import { ChatPanel } from "./chat-panel";
import { ChatIcon, ListIcon, Logo, SignOutIcon } from "./icons";
import { OutageBanner } from "./outage-banner";
import { TasksPanel } from "./tasks-panel";
import { ThemeToggle } from "./theme-toggle";

type View = "tasks" | "chat";

const SEARCH_DELAY_MS = 250;

interface WorkspaceProps {
  user: User;
  /** Signed in just now: the form that had the focus is gone, so the page takes it. */
  arrived: boolean;
  onSignOut: () => Promise<void>;
  onSessionEnded: () => void;
}

/** Tasks and chat side by side; on a narrow screen one of the two at a time. */
export function Workspace({ user, arrived, onSignOut, onSessionEnded }: WorkspaceProps) {
  const announce = useAnnounce();
  const api = useMemo(() => new Api(onSessionEnded), [onSessionEnded]);
  const { online, epoch } = useSyncExternalStore(api.connection.subscribe, api.connection.snapshot, api.connection.snapshot);

  const [view, setView] = useState<View>("tasks");
  const [filter, setFilter] = useState<Filter>("all");
  const [search, setSearch] = useState("");
  const settledSearch = useSettled(search.trim(), SEARCH_DELAY_MS);
  const tasks = useTasks(api, filter, settledSearch, epoch);
  const { reload } = tasks;

  const [historyTurn, setHistoryTurn] = useState(0);
  const onTool = useCallback(() => void reload(), [reload]);
  const onAnswered = useCallback(
    (reply: string | undefined) => {
      if (reply) announce(`The assistant says: ${reply}`);
      setHistoryTurn((turn) => turn + 1);
      void reload();
    },
    [announce, reload],
  );
  const chat = useChat(api, epoch, onTool, onAnswered);

  const [signOutError, setSignOutError] = useState<string>();
  const leave = () => void onSignOut().catch((error: unknown) => setSignOutError(messageOf(error)));

  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (arrived) heading.current?.focus();
  }, [arrived]);

  return (
    <div className="workspace">
      <a className="skip-link" href="#new-task">
        Skip to your tasks
      </a>
      <a className="skip-link" href="#chat-input" onClick={() => setView("chat")}>
        Skip to the assistant
      </a>
      <header className="topbar">
        <h1 className="brand" ref={heading} tabIndex={-1}>
          <Logo /> Berth
        </h1>
        <div className="topbar-end">
          {signOutError ? (
            <span className="error-text" role="alert">
              {signOutError}
            </span>
          ) : null}
          <span className="who" title={user.email}>
            <span className="avatar" aria-hidden="true">
              {[...user.name][0]?.toUpperCase() ?? "?"}
            </span>
            <span className="who-name">{user.name}</span>
          </span>
          <ThemeToggle />
          <button type="button" className="icon-button" onClick={leave} aria-label="Sign out" title="Sign out">
            <SignOutIcon />
          </button>
        </div>
      </header>
      <OutageBanner api={api} online={online} />
      <main className="panels" data-view={view}>
        <TasksPanel tasks={tasks} filter={filter} onFilter={setFilter} search={search} settledSearch={settledSearch} onSearch={setSearch} online={online} />
        <ChatPanel api={api} chat={chat} epoch={epoch} historyTurn={historyTurn} />
      </main>
      <nav className="tabbar" aria-label="Views">
        <button type="button" aria-current={view === "tasks" ? "page" : undefined} onClick={() => setView("tasks")}>
          <ListIcon /> Tasks
        </button>
        <button type="button" aria-current={view === "chat" ? "page" : undefined} onClick={() => setView("chat")}>
          <ChatIcon /> Assistant
        </button>
      </nav>
    </div>
  );
}

/** `value` once it has stayed the same for `delay` milliseconds. */
function useSettled(value: string, delay: number): string {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), delay);
    return () => clearTimeout(timer);
  }, [value, delay]);
  return settled;
}

"use client";

import { type FormEvent, useEffect, useId, useMemo, useRef, useState } from "react";
import { useAnnounce } from "@/hooks/use-announcer";
import type { Filter, useTasks } from "@/hooks/use-tasks";
import { messageOf } from "@/lib/client/errors";
import { newKey } from "@/lib/client/key";
import type { Task, TaskDraft } from "@/lib/client/types";
import { AlertIcon, CheckIcon, CloseIcon, PlusIcon, RetryIcon, SearchIcon } from "./icons";
import { TaskItem } from "./task-item";

const FILTERS: [Filter, string][] = [
  ["all", "All"],
  ["open", "Open"],
  ["done", "Done"],
];
const UNDO_MS = 20_000;

interface TasksPanelProps {
  tasks: ReturnType<typeof useTasks>;
  filter: Filter;
  onFilter: (filter: Filter) => void;
  search: string;
  /** The search that the list on the screen answers. */
  settledSearch: string;
  onSearch: (search: string) => void;
  online: boolean;
}

export function TasksPanel({ tasks, filter, onFilter, search, settledSearch, onSearch, online }: TasksPanelProps) {
  const { list, error, loadingMore } = tasks;
  const announce = useAnnounce();
  const id = useId();
  const [actionError, setActionError] = useState<string>();
  const [deleted, setDeleted] = useState<Task>();
  const rows = useRef<HTMLUListElement>(null);
  const leaving = useRef<{ id: string; index: number }>(undefined);

  // What failed for want of a server can be tried again once there is one.
  useEffect(() => {
    if (online) setActionError(undefined);
  }, [online]);

  useEffect(() => {
    if (!deleted) return;
    const timer = setTimeout(() => setDeleted(undefined), UNDO_MS);
    return () => clearTimeout(timer);
  }, [deleted]);

  // A row that leaves the list takes the keyboard's place with it: hand it to the row that moved up, or to the form.
  useEffect(() => {
    const row = leaving.current;
    if (!row || !list || list.items.some(({ id: kept }) => kept === row.id)) return;
    leaving.current = undefined;
    if (document.activeElement && document.activeElement !== document.body) return;
    const boxes = rows.current?.querySelectorAll<HTMLInputElement>("input[type=checkbox]");
    const target = boxes?.[Math.min(row.index, boxes.length - 1)] ?? document.getElementById("new-task");
    target?.focus();
  }, [list]);

  /** Do something to a task and tell how it went. */
  async function act(work: () => Promise<unknown>, done: string): Promise<boolean> {
    setActionError(undefined);
    try {
      await work();
      announce(done);
      return true;
    } catch (thrown) {
      setActionError(messageOf(thrown));
      return false;
    }
  }

  function remove(task: Task, index: number): void {
    leaving.current = { id: task.id, index };
    void act(() => tasks.remove(task.id), `Deleted: ${task.title}`).then((ok) => ok && setDeleted(task));
  }

  function undo(task: Task): void {
    setDeleted(undefined);
    const { title, description, completed } = task;
    void act(() => tasks.add({ title, description, completed }, newKey()), `Restored: ${title}`);
  }

  return (
    <section className="panel tasks" aria-labelledby={`${id}-title`}>
      <header className="panel-head">
        <h2 id={`${id}-title`}>Tasks</h2>
        {list ? <p className="muted">{list.open === 0 ? "Nothing open" : `${list.open} open`}</p> : null}
      </header>

      <AddTask onAdd={(draft, key) => act(() => tasks.add(draft, key), `Added: ${draft.title}`)} />

      <div className="tools">
        <div className="segments" role="group" aria-label="Show">
          {FILTERS.map(([value, label]) => (
            <button key={value} type="button" aria-pressed={filter === value} onClick={() => onFilter(value)}>
              {label}
            </button>
          ))}
        </div>
        <div className="search">
          <SearchIcon />
          <input type="search" aria-label="Search tasks" placeholder="Search" maxLength={200} value={search} onChange={(event) => onSearch(event.target.value)} />
        </div>
      </div>

      {actionError ? (
        <p className="alert danger" role="alert">
          <AlertIcon /> <span>{actionError}</span>
          <button type="button" className="icon-button small" aria-label="Dismiss" onClick={() => setActionError(undefined)}>
            <CloseIcon />
          </button>
        </p>
      ) : null}

      <div className="scroll" aria-busy={!list && !error}>
        {list ? (
          list.items.length > 0 ? (
            <ul className="task-list" ref={rows} aria-label="Tasks">
              {list.items.map((task, index) => (
                <TaskItem
                  key={task.id}
                  task={task}
                  onToggle={(completed) => {
                    if (filter !== "all") leaving.current = { id: task.id, index };
                    void act(() => tasks.change(task.id, { completed }), `${completed ? "Completed" : "Reopened"}: ${task.title}`);
                  }}
                  onSave={(draft) => act(() => tasks.change(task.id, draft), `Saved: ${draft.title}`)}
                  onDelete={() => remove(task, index)}
                />
              ))}
            </ul>
          ) : (
            <Empty filter={filter} search={settledSearch} />
          )
        ) : error && online ? (
          <div className="empty">
            <p>{error}</p>
            <button type="button" className="button" onClick={() => void tasks.reload()}>
              <RetryIcon /> Try again
            </button>
          </div>
        ) : (
          <Skeleton />
        )}
        {list && list.items.length < list.total ? (
          <div className="more">
            <button type="button" className="button" disabled={loadingMore} onClick={() => void act(tasks.loadMore, "More tasks loaded")}>
              {loadingMore ? "Loading…" : "Load more"}
            </button>
            <span className="muted">
              {list.items.length} of {list.total}
            </span>
          </div>
        ) : null}
      </div>

      {deleted ? (
        <div className="toast" role="status">
          <span>
            Deleted “<span className="clip">{deleted.title}</span>”
          </span>
          <button type="button" className="link" onClick={() => undo(deleted)}>
            Undo
          </button>
        </div>
      ) : null}
    </section>
  );
}

/** One line for the title; details on demand. Keeps what was typed until it is safely stored. */
function AddTask({ onAdd }: { onAdd: (draft: TaskDraft, idempotencyKey: string) => Promise<boolean> }) {
  const [title, setTitle] = useState("");
  const [description, setDescription] = useState("");
  const [detailed, setDetailed] = useState(false);
  const [busy, setBusy] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  // One key for one content, so that sending it again after a lost answer does not add it again.
  const attempt = useMemo(() => ({ draft: { title: title.trim(), description: description.trim() || null }, key: newKey() }), [title, description]);

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    if (busy || attempt.draft.title === "") return;
    setBusy(true);
    const added = await onAdd(attempt.draft, attempt.key);
    setBusy(false);
    if (!added) return;
    setTitle("");
    setDescription("");
    setDetailed(false);
    input.current?.focus();
  }

  return (
    <form className="add-task" onSubmit={(event) => void submit(event)}>
      <div className="add-row">
        <input ref={input} id="new-task" aria-label="New task" placeholder="What needs doing?" value={title} maxLength={200} required onChange={(event) => setTitle(event.target.value)} />
        <button type="submit" className="button primary" disabled={busy}>
          <PlusIcon /> Add<span className="visually-hidden"> task</span>
        </button>
      </div>
      {detailed ? (
        <textarea aria-label="Details" placeholder="Details" rows={2} maxLength={2000} value={description} autoFocus onChange={(event) => setDescription(event.target.value)} />
      ) : title ? (
        <button type="button" className="link subtle" onClick={() => setDetailed(true)}>
          Add details
        </button>
      ) : null}
    </form>
  );
}

function Empty({ filter, search }: { filter: Filter; search: string }) {
  const [title, hint] = search
    ? [`Nothing matches “${search}”`, "Try other words, or another filter."]
    : filter === "done"
      ? ["Nothing finished yet", "What you complete is kept here."]
      : filter === "open"
        ? ["All done", "Enjoy it while it lasts."]
        : ["A clean slate", "Add your first task above, or ask the assistant to."];
  return (
    <div className="empty">
      <span className="empty-mark" aria-hidden="true">
        <CheckIcon />
      </span>
      <p className="empty-title">{title}</p>
      <p className="muted">{hint}</p>
    </div>
  );
}

function Skeleton() {
  return (
    <div className="skeleton">
      <span className="visually-hidden" role="status">
        Loading your tasks
      </span>
      {["a", "b", "c", "d"].map((row) => (
        <div key={row} className="skeleton-row" aria-hidden="true">
          <span />
          <span />
        </div>
      ))}
    </div>
  );
}

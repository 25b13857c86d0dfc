"use client";

import { type FormEvent, type KeyboardEvent, useEffect, useRef, useState } from "react";
import type { Task, TaskDraft } from "@/lib/client/types";
import { EditIcon, TrashIcon } from "./icons";

interface TaskItemProps {
  task: Task;
  onToggle: (completed: boolean) => void;
  /** Resolves to whether it was stored. */
  onSave: (draft: TaskDraft) => Promise<boolean>;
  onDelete: () => void;
}

export function TaskItem({ task, onToggle, onSave, onDelete }: TaskItemProps) {
  const [editing, setEditing] = useState(false);
  const wasEditing = useRef(false);
  const editButton = useRef<HTMLButtonElement>(null);

  useEffect(() => {
    if (wasEditing.current && !editing) editButton.current?.focus();
    wasEditing.current = editing;
  }, [editing]);

  if (editing) {
    return (
      <li className="task editing">
        <EditTask task={task} onSave={onSave} onClose={() => setEditing(false)} />
      </li>
    );
  }
  return (
    <li className="task" data-done={task.completed || undefined}>
      <label className="task-label">
        <input type="checkbox" checked={task.completed} onChange={(event) => onToggle(event.target.checked)} />
        <span className="task-title">{task.title}</span>
      </label>
      <span className="task-actions">
        <button ref={editButton} type="button" className="icon-button small" onClick={() => setEditing(true)} aria-label={`Edit ${task.title}`} title="Edit">
          <EditIcon />
        </button>
        <button type="button" className="icon-button small danger" onClick={onDelete} aria-label={`Delete ${task.title}`} title="Delete">
          <TrashIcon />
        </button>
      </span>
      {task.description ? <p className="task-description">{task.description}</p> : null}
    </li>
  );
}

function EditTask({ task, onSave, onClose }: { task: Task; onSave: TaskItemProps["onSave"]; onClose: () => void }) {
  const [title, setTitle] = useState(task.title);
  const [description, setDescription] = useState(task.description ?? "");
  const [busy, setBusy] = useState(false);

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    if (title.trim() === "") return;
    setBusy(true);
    const saved = await onSave({ title: title.trim(), description: description.trim() || null });
    setBusy(false);
    if (saved) onClose();
  }

  function keys(event: KeyboardEvent<HTMLFormElement>): void {
    if (event.key === "Escape") onClose();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
  }

  return (
    <form className="edit-task" aria-label={`Edit ${task.title}`} onSubmit={(event) => void submit(event)} onKeyDown={keys}>
      <label className="field">
        <span>Title</span>
        <input value={title} maxLength={200} required autoFocus onChange={(event) => setTitle(event.target.value)} />
      </label>
      <label className="field">
        <span>Details</span>
        <textarea value={description} maxLength={2000} rows={3} onChange={(event) => setDescription(event.target.value)} />
      </label>
      <div className="edit-actions">
        <button type="submit" className="button primary" disabled={busy}>
          Save
        </button>
        <button type="button" className="button" onClick={onClose}>
          Cancel
        </button>
      </div>
    </form>
  );
}

import { useCallback, useEffect, useRef, useState } from "react";
import type { Api } from "@/lib/client/api";
import { messageOf } from "@/lib/client/errors";
import type { Task, TaskChange, TaskDraft } from "@/lib/client/types";

export type Filter = "all" | "open" | "done";

const PAGE = 20;
const MOST = 100; // the backend's largest page

export interface TaskList {
  items: Task[];
  /** How many match the filter and the search, loaded or not. */
  total: number;
  /** How many are open, whatever the filter. */
  open: number;
}

/**
 * The tasks that match a filter and a search, kept in step with the server.
 *
 * @param epoch loads anew when it changes, as it does after the server came back
 */
export function useTasks(api: Api, filter: Filter, search: string, epoch: number) {
  const [list, setList] = useState<TaskList>();
  const [error, setError] = useState<string>();
  const [loadingMore, setLoadingMore] = useState(false);
  const newest = useRef(0);
  const loaded = useRef(PAGE);

  const reload = useCallback(async () => {
    const request = ++newest.current;
    const completed = filter === "all" ? undefined : filter === "done";
    try {
      const limit = Math.min(MOST, Math.max(PAGE, loaded.current));
      const [page, open] = await Promise.all([
        api.listTasks({ limit, completed, q: search || undefined }),
        api.listTasks({ limit: 1, completed: false }),
      ]);
      if (request !== newest.current) return; // a later one is on its way
      setList({ items: page.items, total: page.total, open: open.total });
      setError(undefined);
    } catch (thrown) {
      if (request === newest.current) setError(messageOf(thrown));
    }
  }, [api, filter, search]);

  useEffect(() => {
    loaded.current = PAGE;
  }, [filter, search]);

  useEffect(() => {
    void reload();
  }, [reload, epoch]);

  const loadMore = useCallback(async () => {
    if (!list) return;
    const request = newest.current;
    setLoadingMore(true);
    try {
      const completed = filter === "all" ? undefined : filter === "done";
      const page = await api.listTasks({ limit: PAGE, offset: list.items.length, completed, q: search || undefined });
      if (request !== newest.current) return;
      const known = new Set(list.items.map(({ id }) => id));
      const items = [...list.items, ...page.items.filter(({ id }) => !known.has(id))];
      loaded.current = items.length;
      setList({ ...list, items, total: page.total });
    } finally {
      setLoadingMore(false);
    }
  }, [api, filter, list, search]);

  const add = useCallback(
    async (draft: TaskDraft, idempotencyKey: string) => {
      await api.addTask(draft, idempotencyKey);
      await reload();
    },
    [api, reload],
  );

  /** Shown at once, taken back if the server refuses. */
  const change = useCallback(
    async (id: string, values: TaskChange) => {
      const patch = (patched: TaskChange) =>
        setList((now) => now && { ...now, items: now.items.map((task) => (task.id === id ? { ...task, ...patched } : task)) });
      const before = list?.items.find((task) => task.id === id);
      patch(values);
      try {
        await api.changeTask(id, values);
      } catch (thrown) {
        if (before) patch(before);
        throw thrown;
      }
      await reload();
    },
    [api, list, reload],
  );

  const remove = useCallback(
    async (id: string) => {
      await api.deleteTask(id);
      await reload();
    },
    [api, reload],
  );

  return { list, error, loadingMore, reload, loadMore, add, change, remove };
}

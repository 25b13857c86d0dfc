"use client";

import { useCallback, useEffect, useRef, useState } from "react";
import { useAnnounce } from "@/hooks/use-announcer";
import type { Api } from "@/lib/client/api";
import { OfflineIcon } from "./icons";

const DELAYS_MS = [1000, 2000, 3000, 5000];

/** Says that the server is away, asks it again and again, and goes when it answers. */
export function OutageBanner({ api, online }: { api: Api; online: boolean }) {
  const announce = useAnnounce();
  const wasOnline = useRef(online);
  const [asking, setAsking] = useState(false);

  const ask = useCallback(async () => {
    setAsking(true);
    // The answer itself tells the connection; what failed is known already.
    await api.listTasks({ limit: 1 }).catch(() => undefined);
    setAsking(false);
  }, [api]);

  useEffect(() => {
    if (online) return;
    let attempt = 0;
    let ended = false;
    let timer: ReturnType<typeof setTimeout>;
    const next = () => {
      if (!ended) timer = setTimeout(() => void ask().then(next), DELAYS_MS[Math.min(attempt++, DELAYS_MS.length - 1)]);
    };
    next();
    const now = () => void ask();
    window.addEventListener("online", now);
    return () => {
      ended = true;
      clearTimeout(timer);
      window.removeEventListener("online", now);
    };
  }, [ask, online]);

  useEffect(() => {
    if (online && !wasOnline.current) announce("The server is back.");
    wasOnline.current = online;
  }, [announce, online]);

  if (online) return null;
  return (
    <div className="outage" role="alert">
      <OfflineIcon />
      <p>
        <strong>The server cannot be reached.</strong> What you see may be out of date. Trying again in the background.
      </p>
      <button type="button" className="button" onClick={() => void ask()} disabled={asking}>
        Try now
      </button>
    </div>
  );
}

"use client";

import { createContext, type ReactNode, useCallback, useContext, useState } from "react";

const Announce = createContext<(message: string) => void>(() => undefined);

/** A polite live region for what a screen reader's user would otherwise miss. */
export function Announcer({ children }: { children: ReactNode }) {
  const [message, setMessage] = useState({ text: "", turn: 0 });
  const announce = useCallback((text: string) => setMessage(({ turn }) => ({ text, turn: turn + 1 })), []);
  return (
    <Announce value={announce}>
      {children}
      <div className="visually-hidden" role="status" aria-live="polite" aria-atomic="true">
        {/* The key makes the same words twice in a row two announcements. */}
        <span key={message.turn}>{message.text}</span>
      </div>
    </Announce>
  );
}

export const useAnnounce = () => useContext(Announce);

"use client";

import { useEffect, useRef, useState } from "react";

export function Talk({ room }: { room: string }) {
  const socket = useRef<WebSocket | null>(null);
  const [lines, setLines] = useState<string[]>([]);
  useEffect(() => {
    const one = new WebSocket(`${process.env.NEXT_PUBLIC_WS_URL}/rooms/${room}`);
    one.onmessage = ({ data }) => setLines((before) => [...before, String(data)]);
    socket.current = one;
    return () => one.close();
  }, [room]);
  return (
    <form onSubmit={(event) => { event.preventDefault(); socket.current?.send(String(new FormData(event.currentTarget).get("text"))); }}>
      <input name="text" />
      {lines.map((line, number) => <p key={number}>{line}</p>)}
    </form>
  );
}

"use client";

import { Logo } from "@/components/icons";

export default function ErrorPage({ reset }: { reset: () => void }) {
  return (
    <main className="notice-page">
      <Logo />
      <h1>Something went wrong</h1>
      <p>Your tasks are safe. Try again; if it stays, reload the page.</p>
      <button type="button" className="button primary" onClick={reset}>
        Try again
      </button>
    </main>
  );
}

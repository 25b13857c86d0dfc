"use client";

import "./globals.css";

/** Stands in for the layout itself, which is what failed. */
export default function GlobalError({ reset }: { reset: () => void }) {
  return (
    <html lang="en">
      <body>
        <main className="notice-page">
          <h1>Something went wrong</h1>
          <p>Try again; if it stays, reload the page.</p>
          <button type="button" className="button primary" onClick={reset}>
            Try again
          </button>
        </main>
      </body>
    </html>
  );
}

"use client";

import { type FormEvent, useId, useRef, useState } from "react";
import { useHydrated } from "@/hooks/use-hydrated";
import { messageOf } from "@/lib/client/errors";
import { signIn, signUp } from "@/lib/client/session";
import type { User } from "@/lib/client/types";
import { AlertIcon, CheckIcon, Logo, SparkIcon, ToolIcon } from "./icons";
import { ThemeToggle } from "./theme-toggle";

type Mode = "sign-in" | "sign-up";

const PASSWORD_LENGTH = 8;

export function AuthScreen({ notice, onSignedIn }: { notice: string | undefined; onSignedIn: (user: User) => void }) {
  const [mode, setMode] = useState<Mode>("sign-in");
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);
  const [showPassword, setShowPassword] = useState(false);
  const hydrated = useHydrated();
  const form = useRef<HTMLFormElement>(null);
  const id = useId();
  const creating = mode === "sign-up";

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const data = new FormData(event.currentTarget);
    const field = (name: string) => String(data.get(name) ?? "");
    setBusy(true);
    setError(undefined);
    try {
      const credentials = { email: field("email").trim(), password: field("password") };
      onSignedIn(await (creating ? signUp({ ...credentials, name: field("name").trim() }) : signIn(credentials)));
    } catch (thrown) {
      setError(messageOf(thrown));
      setBusy(false);
      form.current?.querySelector<HTMLInputElement>("[name=email]")?.focus();
    }
  }

  function choose(next: Mode): void {
    setMode(next);
    setError(undefined);
  }

  return (
    <div className="auth">
      <header className="auth-top">
        <span className="brand">
          <Logo /> Berth
        </span>
        <ThemeToggle />
      </header>
      <main className="auth-main" id="main">
        <section className="pitch" aria-label="What this is">
          <h1>
            Say it once.
            <br />
            <em>See it done.</em>
          </h1>
          <p>Your tasks on one calm page, next to an assistant that adds, finds and finishes them when you ask.</p>
          <div className="pitch-demo" aria-hidden="true">
            <p className="bubble">Add a task: buy milk</p>
            <p className="pitch-tool">
              <ToolIcon /> add_task <CheckIcon />
            </p>
            <p className="pitch-answer">
              <SparkIcon /> Done. “Buy milk” is on your list.
            </p>
          </div>
        </section>
        <section className="card auth-card" aria-labelledby={`${id}-title`}>
          <h2 id={`${id}-title`}>{creating ? "Create your account" : "Welcome back"}</h2>
          <p className="muted">{creating ? "A name, an e-mail address and a password: that is all." : "Sign in to your tasks."}</p>
          {notice && !error ? (
            <p className="alert info" role="status">
              <AlertIcon /> {notice}
            </p>
          ) : null}
          {/* POST, so that a form sent before the page is ready cannot put a password into the address. */}
          <form ref={form} className="stack" method="post" onSubmit={(event) => void submit(event)}>
            {creating ? (
              <label className="field">
                <span>Name</span>
                <input name="name" type="text" autoComplete="name" required maxLength={100} />
              </label>
            ) : null}
            <label className="field">
              <span>E-mail</span>
              <input name="email" type="email" autoComplete="email" required aria-describedby={error ? `${id}-error` : undefined} aria-invalid={error ? true : undefined} />
            </label>
            <div className="field">
              <span className="field-row">
                <label htmlFor={`${id}-password`}>Password</label>
                <button type="button" className="link" aria-pressed={showPassword} onClick={() => setShowPassword(!showPassword)}>
                  {showPassword ? "Hide" : "Show"}
                  <span className="visually-hidden"> password</span>
                </button>
              </span>
              <input
                id={`${id}-password`}
                name="password"
                type={showPassword ? "text" : "password"}
                autoComplete={creating ? "new-password" : "current-password"}
                required
                minLength={creating ? PASSWORD_LENGTH : undefined}
                maxLength={128}
                aria-describedby={creating ? `${id}-hint` : undefined}
              />
              {creating ? (
                <small id={`${id}-hint`} className="muted">
                  {PASSWORD_LENGTH} characters or more.
                </small>
              ) : null}
            </div>
            {error ? (
              <p className="alert danger" role="alert" id={`${id}-error`}>
                <AlertIcon /> {error}
              </p>
            ) : null}
            <button type="submit" className="button primary wide" disabled={!hydrated || busy}>
              {busy ? "One moment…" : creating ? "Create account" : "Sign in"}
            </button>
          </form>
          <p className="auth-switch muted">
            {creating ? "Already have an account?" : "New here?"}{" "}
            <button type="button" className="link" disabled={!hydrated} onClick={() => choose(creating ? "sign-in" : "sign-up")}>
              {creating ? "Sign in instead" : "Create an account"}
            </button>
          </p>
        </section>
      </main>
    </div>
  );
}

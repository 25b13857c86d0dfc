"use client";

import { useCallback, useEffect, useState } from "react";
import { Announcer } from "@/hooks/use-announcer";
import { currentUser, signOut } from "@/lib/client/session";
import type { User } from "@/lib/client/types";
import { AuthScreen } from "./auth-screen";
import { Logo } from "./icons";
import { Workspace } from "./workspace";

const RETRY_MS = 2000;

/** Who is here decides what is shown. `initialUser` is undefined where the server could not find out. */
export function App({ initialUser }: { initialUser: User | null | undefined }) {
  const [user, setUser] = useState(initialUser);
  const [arrived, setArrived] = useState(false);
  const [notice, setNotice] = useState<string>();

  useEffect(() => {
    if (user !== undefined) return;
    const timer = setInterval(() => void currentUser().then(setUser, () => undefined), RETRY_MS);
    return () => clearInterval(timer);
  }, [user]);

  const onSignedIn = useCallback((signedIn: User) => {
    setNotice(undefined);
    setArrived(true);
    setUser(signedIn);
  }, []);

  const leave = useCallback((message: string | undefined) => {
    sessionStorage.clear();
    setNotice(message);
    setUser(null);
  }, []);
  const onSignOut = useCallback(async () => {
    await signOut();
    leave(undefined);
  }, [leave]);
  const onSessionEnded = useCallback(() => leave("Your session has ended. Sign in to go on."), [leave]);

  return (
    <Announcer>
      {user === undefined ? (
        <main className="notice-page" aria-busy="true">
          <Logo />
          <h1>One moment</h1>
          <p role="status">Your account cannot be reached right now. Trying again…</p>
        </main>
      ) : user === null ? (
        <AuthScreen notice={notice} onSignedIn={onSignedIn} />
      ) : (
        <Workspace key={user.id} user={user} arrived={arrived} onSignOut={onSignOut} onSessionEnded={onSessionEnded} />
      )}
    </Announcer>
  );
}

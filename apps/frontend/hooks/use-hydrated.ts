import { useSyncExternalStore } from "react";

const never = () => () => undefined;

/** False in the server's markup and until React has taken it over: forms wait for it, so that none is sent by the browser itself. */
export function useHydrated(): boolean {
  return useSyncExternalStore(never, () => true, () => false);
}

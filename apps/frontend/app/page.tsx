import { headers } from "next/headers";
import { App } from "@/components/app";
import { authentication } from "@/lib/auth";
import type { User } from "@/lib/client/types";
import { describeError, log } from "@/lib/log";
import { settings } from "@/lib/settings";
import { withRenewedSignatures } from "@/lib/signatures";

/** Who the request's cookie belongs to; null for nobody, undefined where the database cannot say. */
async function signedInUser(): Promise<User | null | undefined> {
  const request = withRenewedSignatures(await headers(), settings().authSecrets);
  try {
    // A page cannot set cookies, so it must not extend the session either: the request for a token, which follows, does both.
    const session = await authentication().auth.api.getSession({ headers: request, query: { disableRefresh: true } });
    if (!session) return null;
    const { id, name, email } = session.user;
    return { id, name, email };
  } catch (error) {
    log("warning", "session not readable", describeError(error));
    return undefined;
  }
}

export default async function Page() {
  return <App initialUser={await signedInUser()} />;
}

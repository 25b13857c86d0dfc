import { send } from "./api.ts";
import { ApiError } from "./errors.ts";
import type { User } from "./types.ts";

export interface Credentials {
  email: string;
  password: string;
}

/** Better Auth's own endpoints, which this page calls directly. */
export async function signIn(credentials: Credentials): Promise<User> {
  try {
    return await post("/api/auth/sign-in/email", credentials);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) throw new ApiError(401, "E-mail and password do not match.");
    throw error;
  }
}

export async function signUp(account: Credentials & { name: string }): Promise<User> {
  return post("/api/auth/sign-up/email", account);
}

export async function signOut(): Promise<void> {
  await send("/api/auth/sign-out", { method: "POST", body: {} });
}

/** Who is signed in, or null. */
export async function currentUser(): Promise<User | null> {
  const response = await send("/api/auth/get-session");
  return ((await response.json()) as { user: User } | null)?.user ?? null;
}

async function post(path: string, body: object): Promise<User> {
  const response = await send(path, { method: "POST", body });
  return ((await response.json()) as { user: User }).user;
}

export type Theme = "light" | "dark";

export const THEME_COOKIE = "theme";

/** The stored choice; undefined follows the system. A cookie, because the server must know it before the first paint. */
export function themeFrom(value: string | undefined): Theme | undefined {
  return value === "light" || value === "dark" ? value : undefined;
}

"use client";

import { THEME_COOKIE, themeFrom } from "@/lib/theme";
import { MoonIcon, SunIcon } from "./icons";

const YEAR = 365 * 24 * 3600;

function toggle(): void {
  const root = document.documentElement;
  const now = themeFrom(root.dataset.theme) ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  root.dataset.theme = next;
  document.cookie = `${THEME_COOKIE}=${next}; path=/; max-age=${YEAR}; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
}

/** Which of the two icons shows is for the style sheet to say: only it knows the system's theme. */
export function ThemeToggle() {
  return (
    <button type="button" className="icon-button" onClick={toggle} aria-label="Switch between light and dark" title="Switch between light and dark">
      <MoonIcon className="icon when-light" />
      <SunIcon className="icon when-dark" />
    </button>
  );
}

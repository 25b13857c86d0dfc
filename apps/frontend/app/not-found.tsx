import { Logo } from "@/components/icons";

export const metadata = { title: "Not found" };

export default function NotFound() {
  return (
    <main className="notice-page">
      <Logo />
      <h1>There is nothing here</h1>
      <p>The page may have moved, or the address has a slip in it.</p>
      <a className="button primary" href="/">
        Back to your tasks
      </a>
    </main>
  );
}

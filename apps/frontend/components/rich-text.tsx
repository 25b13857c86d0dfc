import { Fragment, type ReactNode } from "react";

/**
 * The little Markdown that assistants write: paragraphs, lists, headings, code, bold, emphasis. It makes elements and never
 * HTML, so nothing that a model says can become markup; links stay text.
 */
export function RichText({ text }: { text: string }) {
  return <div className="rich-text">{blocks(text).map(renderBlock)}</div>;
}

type ListKind = "bullets" | "numbers" | "checks";

type Block = { kind: "paragraph" | "heading" | "code"; text: string } | { kind: ListKind; start: number; items: { text: string; done: boolean }[] };

/** "- point", "2. point", and for tasks "- [x] point" or just "[x] point". */
const ITEM = /^\s*(?:(?:[-*•]|(\d{1,9})[.)])\s+)?(?:\[([ xX])\]\s+)?(.*)$/;

/** Split text into blocks; an unfinished code fence, as while streaming, runs to the end. */
export function blocks(text: string): Block[] {
  const result: Block[] = [];
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  let paragraph: string[] = [];
  const flush = () => {
    if (paragraph.length > 0) result.push({ kind: "paragraph", text: paragraph.join("\n") });
    paragraph = [];
  };
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? "";
    const item = listItem(line);
    const heading = /^#{1,6}\s+(.*)$/.exec(line);
    if (/^\s*```/.test(line)) {
      flush();
      const code: string[] = [];
      while (++index < lines.length && !/^\s*```/.test(lines[index] ?? "")) code.push(lines[index] ?? "");
      result.push({ kind: "code", text: code.join("\n") });
    } else if (item) {
      flush();
      const { kind, start, ...entry } = item;
      const last = result.at(-1);
      if (last?.kind === kind) last.items.push(entry);
      else result.push({ kind, start, items: [entry] });
    } else if (heading) {
      flush();
      result.push({ kind: "heading", text: heading[1] ?? "" });
    } else if (line.trim() === "") {
      flush();
    } else {
      paragraph.push(line);
    }
  }
  flush();
  return result;
}

function listItem(line: string): { kind: ListKind; start: number; text: string; done: boolean } | undefined {
  const [, number, check, text = ""] = ITEM.exec(line) ?? [];
  if (text === line.trimStart() || line.trim() === "") return undefined; // no marker at all
  const kind = check !== undefined ? "checks" : number !== undefined ? "numbers" : "bullets";
  return { kind, start: Number(number ?? 1), text, done: check?.toLowerCase() === "x" };
}

function renderBlock(block: Block, key: number): ReactNode {
  switch (block.kind) {
    case "code":
      return (
        <pre key={key} tabIndex={0}>
          {block.text}
        </pre>
      );
    case "heading":
      return (
        <p key={key}>
          <strong>{inline(block.text)}</strong>
        </p>
      );
    case "paragraph":
      return <p key={key}>{inline(block.text)}</p>;
    case "numbers":
      return (
        <ol key={key} start={block.start}>
          {block.items.map(renderItem)}
        </ol>
      );
    case "bullets":
    case "checks":
      return (
        <ul key={key} className={block.kind}>
          {block.items.map(renderItem)}
        </ul>
      );
  }
}

function renderItem({ text, done }: { text: string; done: boolean }, key: number): ReactNode {
  return (
    <li key={key} data-done={done || undefined}>
      <span>{inline(text)}</span>
    </li>
  );
}

const INLINE = /(`[^`\n]+`|\*\*[^*\n]+\*\*|(?<![\w*])\*[^*\s][^*\n]*\*(?![\w*])|~~[^~\n]+~~)/;

function inline(text: string): ReactNode[] {
  return text.split(INLINE).map((part, index) => {
    if (index % 2 === 0) return <Fragment key={index}>{part}</Fragment>;
    if (part.startsWith("`")) return <code key={index}>{part.slice(1, -1)}</code>;
    if (part.startsWith("**")) return <strong key={index}>{part.slice(2, -2)}</strong>;
    if (part.startsWith("~~")) return <s key={index}>{part.slice(2, -2)}</s>;
    return <em key={index}>{part.slice(1, -1)}</em>;
  });
}

"""The rules: what to say or which tools to call next, from the messages so far and nothing else.

Like a real model it keeps no state: a task's id is known only from a `list_tasks` result in the conversation, so
"complete buy milk" takes two tool calls, the second made from the result of the first.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

HELP = (
    'I am the mock LLM: I respond by fixed rules. Try "add a task: buy milk", "list my tasks", "complete buy milk", '
    '"rename buy milk to buy oat milk" or "delete buy milk".'
)
PAGE = 100

_POLITE = r"(?:please\s+|(?:can|could|would) you\s+(?:please\s+)?|i (?:want|need) (?:you )?to\s+)?"
_NOUN = r"(?:tasks?|to-?dos?|reminders?|items?)"
ADD = re.compile(
    rf"^{_POLITE}(?:(?:add|create|make|new|note)\b\s*(?:me\s+)?(?:an?\s+|the\s+|some\s+)?(?:new\s+)?"
    rf"(?P<noun>{_NOUN}\b)?\s*(?:called\b|named\b|to\b(?!-)|:|-)?|remind me to)\s*(?P<title>.+)$",
    re.IGNORECASE | re.DOTALL,
)
LIST = re.compile(
    rf"^{_POLITE}(?:list|show|see|display|give me|tell me|what(?:'s| is| are)?|which|do i have)\b"
    rf".*\b(?:{_NOUN}|list|do)\b",
    re.IGNORECASE | re.DOTALL,
)
RENAME = re.compile(
    rf"^{_POLITE}(?:rename|update|change|edit)\s+(?P<title>.+?)\s+(?:to|into|->)\s+(?P<new>.+)$",
    re.IGNORECASE | re.DOTALL,
)
DELETE = re.compile(rf"^{_POLITE}(?:delete|remove|drop|discard)\s+(?P<title>.+)$", re.IGNORECASE | re.DOTALL)
COMPLETE = re.compile(
    rf"^{_POLITE}(?:complete|finish|done(?:\s+with)?\b:?|mark|check off|tick off|i(?:'ve| have)? (?:did|done|finished))"
    rf"\s+(?P<title>.+?)(?:\s+(?:as\s+)?(?:done|complete|completed|finished))?$",
    re.IGNORECASE | re.DOTALL,
)
_OPEN = re.compile(r"\b(?:open|pending|unfinished|incomplete|left|remaining)\b", re.IGNORECASE)
_DONE = re.compile(r"\b(?:done|completed|finished|closed)\b", re.IGNORECASE)
_ARTICLES = re.compile(rf"^(?:(?:the|my|a|an)\s+)?(?:{_NOUN}\b\s*:?\s*)?(?:called\s+|named\s+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Call:
    """A tool to call."""

    name: str
    arguments: dict[str, Any]


@dataclass
class Move:
    """The next message of the assistant: some text, or calls of tools."""

    text: str = ""
    calls: list[Call] = field(default_factory=list)


@dataclass
class Result:
    """A finished tool call of this turn; `value` is its answer as JSON, or as text where it is none."""

    name: str
    arguments: dict[str, Any]
    value: Any

    @property
    def failed(self) -> bool:
        """Tools answer with an object; a text is an error's."""
        return not isinstance(self.value, dict)


def next_move(messages: list[dict[str, Any]], tools: set[str]) -> Move:
    """The assistant's next message. `tools`: names of the tools that may be called."""
    text, results = _this_turn(messages)
    move = _decide(text.strip(), results)
    if missing := sorted({call.name for call in move.calls} - tools):
        return Move(f"I cannot do that: I was not given the tool {', '.join(missing)}.")
    return move


def _decide(text: str, results: list[Result]) -> Move:
    for result in results:
        if result.failed:
            return Move(f"That did not work: {_one_line(str(result.value))}")
    if LIST.match(text):
        return _list(text, results)
    if match := RENAME.match(text):
        new = _clean(match["new"])
        return _change(match["title"], results, "update_task", {"title": new}, f'I renamed "{{title}}" to "{new}".')
    if match := DELETE.match(text):
        return _change(match["title"], results, "delete_task", {}, 'I deleted "{title}".')
    if match := COMPLETE.match(text):
        return _change(match["title"], results, "complete_task", {}, 'Done: I completed "{title}".')
    if match := ADD.match(text):
        return _add(match, results)
    return Move(HELP)


def _add(match: re.Match[str], results: list[Result]) -> Move:
    titles = [match["title"]]
    if (match["noun"] or "").lower().endswith("s"):  # "add tasks: milk, bread and eggs"
        titles = re.split(r"\s*[,;\n]\s*(?:and\s+)?|\s+and\s+", match["title"])
    titles = [title for title in map(_clean, titles) if title.strip(":-")]
    if not titles:
        return Move(HELP)
    if not results:
        return Move(calls=[Call("add_task", {"title": title[:200]}) for title in titles])
    added = [f'"{result.value.get("title", "")}"' for result in results]
    return Move(f"I added {_enumerate(added)} to your tasks.")


def _list(text: str, results: list[Result]) -> Move:
    arguments: dict[str, Any] = {"limit": PAGE}
    kind = "tasks"
    if _OPEN.search(text):
        arguments["completed"], kind = False, "open tasks"
    elif _DONE.search(text):
        arguments["completed"], kind = True, "completed tasks"
    if not results:
        return Move(calls=[Call("list_tasks", arguments)])
    page = results[-1].value
    items, total = page.get("items", []), page.get("total", 0)
    if not items:
        return Move(f"You have no {kind}.")
    lines = [f"{'[x]' if item.get('completed') else '[ ]'} {item.get('title', '')}" for item in items]
    more = f"\n... and {total - len(items)} more." if total > len(items) else ""
    noun = kind if total != 1 else kind.removesuffix("s")
    return Move(f"You have {total} {noun}:\n" + "\n".join(lines) + more)


def _change(title: str, results: list[Result], tool: str, arguments: dict[str, Any], done: str) -> Move:
    """List until the task is found, then call `tool` with its id, then say so."""
    title = _clean(_ARTICLES.sub("", title.strip(), count=1)) or _clean(title)
    listed = [item for result in results if result.name == "list_tasks" for item in result.value.get("items", [])]
    changed = next((result for result in results if result.name == tool), None)
    if changed is not None:
        task: dict[str, Any] = next((item for item in listed if item.get("id") == changed.arguments.get("task_id")), {})
        return Move(done.format(title=task.get("title", title)))
    found = _find(title, listed)
    if len(found) == 1:
        return Move(calls=[Call(tool, {"task_id": found[0]["id"], **arguments})])
    total = results[-1].value.get("total", 0) if results else 1
    if len(listed) < total:
        offset = {"offset": len(listed)} if listed else {}
        return Move(calls=[Call("list_tasks", {"limit": PAGE, **offset})])
    if found:
        return Move(f"Which one do you mean: {_enumerate([_quoted(item) for item in found[:5]])}?")
    return Move(f'I found no task "{title}".')


def _find(title: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tasks that are meant: by id, else by the whole title, else by a part of it; open ones before done ones."""
    needle = title.casefold()
    exact = [item for item in items if needle in (str(item.get("id", "")), str(item.get("title", "")).casefold())]
    found = exact or [item for item in items if needle in str(item.get("title", "")).casefold()]
    still_open = [item for item in found if not item.get("completed")]
    if exact:  # of several with one title the first open one will do
        return (still_open or found)[:1]
    return still_open or found


def _this_turn(messages: list[dict[str, Any]]) -> tuple[str, list[Result]]:
    """The last thing that the user said, and the tool calls that were answered since."""
    start = max((index for index, message in enumerate(messages) if message.get("role") == "user"), default=None)
    if start is None:
        return "", []
    calls: dict[str, Call] = {}
    results: list[Result] = []
    for message in messages[start + 1 :]:
        for call in message.get("tool_calls") or []:
            function = call.get("function", {})
            arguments = _json(function.get("arguments") or "{}")
            calls[call.get("id", "")] = Call(function.get("name", ""), arguments if isinstance(arguments, dict) else {})
        if message.get("role") == "tool" and (made := calls.get(message.get("tool_call_id", ""))):
            results.append(Result(made.name, made.arguments, _json(_content(message))))
    return _content(messages[start]), results


def _content(message: dict[str, Any]) -> str:
    """A message's text: a string, or parts with text."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _clean(title: str) -> str:
    """A title on one line, without the quotation marks and the full stop around it."""
    title = _one_line(title)
    if len(title) > 1 and (title[0], title[-1]) in {('"', '"'), ("'", "'"), ("\u201c", "\u201d")}:
        return title[1:-1].strip()
    return title.rstrip(".!").strip()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _quoted(item: dict[str, Any]) -> str:
    return f'"{item.get("title", "")}"'


def _enumerate(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"

"""The rules, played against tools that keep real tasks."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from app.rules import HELP, next_move

TOOLS = {"add_task", "list_tasks", "complete_task", "update_task", "delete_task"}


class Tasks:
    """What the MCP tools do, in memory."""

    def __init__(self, *titles: str) -> None:
        self.items: list[dict[str, Any]] = []
        for title in titles:
            self.add_task(title)

    def add_task(self, title: str) -> dict[str, Any]:
        self.items.append({"id": str(uuid4()), "title": title, "completed": False})
        return self.items[-1]

    def list_tasks(self, limit: int = 100, offset: int = 0, completed: bool | None = None) -> dict[str, Any]:
        found = [item for item in self.items if completed is None or item["completed"] == completed]
        return {"items": found[offset : offset + limit], "total": len(found), "limit": limit, "offset": offset}

    def complete_task(self, task_id: str) -> dict[str, Any]:
        return self.update_task(task_id, completed=True)

    def update_task(self, task_id: str, **changes: Any) -> dict[str, Any]:
        item = next(item for item in self.items if item["id"] == task_id)
        item.update(changes)
        return item

    def delete_task(self, task_id: str) -> dict[str, Any]:
        self.items = [item for item in self.items if item["id"] != task_id]
        return {"id": task_id, "deleted": True}


def play(tasks: Tasks, text: str, history: list[dict[str, Any]] | None = None) -> tuple[str, list[str]]:
    """Let the rules and the tools talk until there is an answer: the answer, and the tools that were called."""
    messages = [*(history or []), {"role": "user", "content": text}]
    called: list[str] = []
    for _ in range(10):
        move = next_move(messages, TOOLS)
        if not move.calls:
            return move.text, called
        assert not move.text
        calls = [
            {"id": f"c{len(called)}-{n}", "function": {"name": call.name, "arguments": json.dumps(call.arguments)}}
            for n, call in enumerate(move.calls)
        ]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        for made, call in zip(calls, move.calls, strict=True):
            result = getattr(tasks, call.name)(**call.arguments)
            called.append(call.name)
            messages.append({"role": "tool", "tool_call_id": made["id"], "content": json.dumps(result)})
    raise AssertionError("no answer after 10 steps")


def titles(tasks: Tasks) -> list[str]:
    return [item["title"] for item in tasks.items]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("add a task: buy milk", ["buy milk"]),
        ("Add a task: buy milk.", ["buy milk"]),
        ("please add task buy milk", ["buy milk"]),
        ('could you create a new task called "buy milk"?'.removesuffix("?"), ["buy milk"]),
        ("Add buy milk", ["buy milk"]),
        ("remind me to buy milk", ["buy milk"]),
        ("new to-do: buy milk", ["buy milk"]),
        ("add a task: delete old mails", ["delete old mails"]),
        ("add a task: list my tasks", ["list my tasks"]),
        ("add a task: to-do list for Monday", ["to-do list for Monday"]),
        ("add a task: buy milk, bread and eggs", ["buy milk, bread and eggs"]),
        ("add tasks: milk, bread and eggs", ["milk", "bread", "eggs"]),
        ("add a task: \u00e4\u00f6\u00fc \u4f60\u597d \U0001f95b", ["\u00e4\u00f6\u00fc \u4f60\u597d \U0001f95b"]),
        ("add a task: " + "x" * 300, ["x" * 200]),
    ],
)
def test_adding(text: str, expected: list[str]) -> None:
    tasks = Tasks()
    answer, called = play(tasks, text)
    assert titles(tasks) == expected
    assert called == ["add_task"] * len(expected)
    assert all(title in answer for title in expected)


def test_listing() -> None:
    tasks = Tasks("milk", "bread")
    tasks.items[0]["completed"] = True
    assert play(tasks, "list my tasks") == ("You have 2 tasks:\n[x] milk\n[ ] bread", ["list_tasks"])
    assert play(tasks, "Show me my open tasks!")[0] == "You have 1 open task:\n[ ] bread"
    assert play(tasks, "which tasks are done?")[0] == "You have 1 completed task:\n[x] milk"
    assert play(Tasks(), "What are my tasks?")[0] == "You have no tasks."
    assert play(Tasks(*map(str, range(130))), "show my tasks")[0].endswith("... and 30 more.")


@pytest.mark.parametrize(
    "text",
    [
        "complete buy milk",
        "mark buy milk as done",
        "Done with the task buy milk",
        "finish task: Buy Milk",
        "I have done buy milk",
    ],
)
def test_completing(text: str) -> None:
    tasks = Tasks("buy bread", "buy milk")
    answer, called = play(tasks, text)
    assert called == ["list_tasks", "complete_task"]
    assert [item["completed"] for item in tasks.items] == [False, True]
    assert answer == 'Done: I completed "buy milk".'


def test_renaming_and_deleting() -> None:
    tasks = Tasks("buy milk", "buy bread")
    assert play(tasks, 'rename buy milk to "buy oat milk"') == (
        'I renamed "buy milk" to "buy oat milk".',
        ["list_tasks", "update_task"],
    )
    assert play(tasks, "delete my task buy bread") == ('I deleted "buy bread".', ["list_tasks", "delete_task"])
    assert titles(tasks) == ["buy oat milk"]


def test_a_part_of_a_title_or_an_id_is_enough() -> None:
    tasks = Tasks("buy oat milk", "buy bread")
    play(tasks, "complete milk")
    assert [item["completed"] for item in tasks.items] == [True, False]
    play(tasks, f"delete {tasks.items[1]['id']}")
    assert titles(tasks) == ["buy oat milk"]


def test_it_asks_which_one_is_meant() -> None:
    tasks = Tasks("buy oat milk", "buy milk powder")
    assert play(tasks, "delete milk") == (
        'Which one do you mean: "buy oat milk" and "buy milk powder"?',
        ["list_tasks"],
    )
    assert len(tasks.items) == 2


def test_of_several_with_one_title_the_open_one_is_taken() -> None:
    tasks = Tasks("milk", "milk")
    tasks.items[0]["completed"] = True
    play(tasks, "complete milk")
    assert [item["completed"] for item in tasks.items] == [True, True]


def test_it_looks_on_further_pages() -> None:
    tasks = Tasks(*(f"task {n:03}" for n in range(250)))
    answer, called = play(tasks, "delete task 249")
    assert called == ["list_tasks", "list_tasks", "list_tasks", "delete_task"]
    assert (answer, len(tasks.items)) == ('I deleted "task 249".', 249)
    assert play(tasks, "delete nothing")[0] == 'I found no task "nothing".'


def test_only_this_turn_counts() -> None:
    """Results of earlier turns are old: it looks again."""
    tasks = Tasks("milk")
    old = {"id": "gone", "title": "milk", "completed": False}
    history = [
        {"role": "user", "content": "list my tasks"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "function": {"name": "list_tasks", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": json.dumps({"items": [old], "total": 1})},
        {"role": "assistant", "content": "You have 1 task."},
    ]
    assert play(tasks, "delete milk", history)[1] == ["list_tasks", "delete_task"]
    assert tasks.items == []


@pytest.mark.parametrize("text", ["hello", "", "   ", "what is the weather like", "add", "add a task:"])
def test_anything_else_is_helped(text: str) -> None:
    assert play(Tasks(), text) == (HELP, [])


def test_errors_of_tools_are_told() -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "add a task: milk"}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "add_task", "arguments": "["}}]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "Error: no\n space"}]},
    ]
    assert next_move(messages, TOOLS).text == "That did not work: Error: no space"


def test_tools_that_were_not_given_are_not_called() -> None:
    move = next_move([{"role": "user", "content": "add a task: milk"}], set())
    assert (move.calls, move.text) == ([], "I cannot do that: I was not given the tool add_task.")
    assert next_move([{"role": "system", "content": "x"}], TOOLS).text == HELP

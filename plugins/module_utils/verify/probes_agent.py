"""Probes of an application's agent: its MCP server, called without the chat, and the chat."""

from __future__ import annotations

import json
from typing import Any

from .app_client import Absent, Broken
from .probes import Evidence, Probes, Step


class Agent(Probes):
    """The MCP server and the chat."""

    def steps(self) -> list[Step]:
        # A server that asks for no token of Better Auth's is asked without one.
        token = () if self.application.lacks("auth") else ("token",)
        return [
            Step("mcp", "The MCP server answers and lists its tools", self.mcp, ("mcp",), token),
            Step("mcp_call", "An MCP tool is called without the chat", self.mcp_call, ("mcp", "tasks"), ("mcp", "task")),
            Step("mcp_guard", "The MCP server refuses who has no token", self.mcp_guard, ("mcp", "auth"), ("token",)),
            Step("chat_stream", "The chat streams its answer", self.chat_stream, ("chat",), ("token",)),
            Step("chat_memory", "The chat knows the conversation", self.chat_memory, ("chat",), ("chat",)),
        ]

    def _mcp(self, method: str, params: dict[str, Any], token: str, expect: int | None = 200) -> tuple[int, Any]:
        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        status, _, answer = self.web("POST", self.options["mcp"], body, token, expect, headers)
        if isinstance(answer, str):
            data = [line[5:].strip() for line in answer.splitlines() if line.startswith("data:")]
            answer = json.loads(data[-1]) if data else {}
        return status, answer or {}

    def mcp(self) -> Evidence:
        client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "acceptance", "version": "1"}}
        status, answer = self._mcp("initialize", client, self.token, 200 if self.token else None)
        if status in (401, 403):
            raise Absent(f"the MCP server wants a token ({status}), and this check has none")
        server = answer.get("result") or {}
        tools = [tool["name"] for tool in (self._mcp("tools/list", {}, self.token)[1].get("result") or {}).get("tools", [])]
        if not server.get("serverInfo") or not tools:
            raise Broken(f"initialize: {server or 'nothing'}; tools: {tools or 'none'}")
        return f"{server['serverInfo'].get('name')}, protocol {server.get('protocolVersion')}; tools: {', '.join(tools)}", {"tools": tools}

    def mcp_call(self) -> Evidence:
        listed = (self._mcp("tools/list", {}, self.token)[1].get("result") or {}).get("tools", [])
        tool = next((tool["name"] for tool in listed if "list" in tool["name"]), "")
        if not tool:
            raise Broken("the MCP server has no tool that lists")
        result = self._mcp("tools/call", {"name": tool, "arguments": {}}, self.token)[1].get("result") or {}
        if result.get("isError") or self.check.title not in json.dumps(result):
            raise Broken(f"{tool} does not list the task of this check: {json.dumps(result)[:300]}")
        return f"{tool} lists the task of this check"

    def mcp_guard(self) -> Evidence:
        answers = {}
        for name, token in (("no token", ""), ("a broken token", self.token[:-8])):
            answers[name] = self._mcp("tools/list", {}, token, None)[0]
        if set(answers.values()) - {401, 403}:
            raise Broken(f"answered {answers}")
        return ", ".join(f"{status} for {name}" for name, status in answers.items())

    def chat_stream(self) -> Evidence:
        text = self.web("POST", "/api/chat/stream", {"message": "list my tasks"}, self.token, headers={"Accept": "text/event-stream"})[2]
        events = [line[6:].strip() for line in str(text).splitlines() if line.startswith("event:")]
        if "error" in events or "done" not in events or "delta" not in events:
            raise Broken(f"events: {events}")
        data = [json.loads(line[5:]) for line in str(text).splitlines() if line.startswith("data:")]
        self.check.others.append(data[0].get("conversation_id", ""))
        return f"{len(events)} events: {', '.join(dict.fromkeys(events))}"

    def chat_memory(self) -> Evidence:
        detail = self.web("GET", f"/api/conversations/{self.check.conversation}", token=self.token)[2]
        listed = self.web("GET", "/api/conversations", token=self.token)[2]["items"]
        if len(detail.get("messages", [])) < 2 or self.check.conversation not in [item["id"] for item in listed]:
            raise Broken(f"the conversation has {len(detail.get('messages', []))} messages, the list {len(listed)} conversations")
        return f"{len(detail['messages'])} messages are kept in the database"

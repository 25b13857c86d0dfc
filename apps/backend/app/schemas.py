"""What goes over the wire. Patterns stand in the schemas so that OpenAPI tells the whole truth."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StringConstraints, model_validator

from app.models import DESCRIPTION_MAX, TITLE_MAX

# One line with something to read in it: no control characters, not only blanks.
LINE = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
# Any text that PostgreSQL can store: it has no NUL.
TEXT = r"^[^\x00]*$"
# The same with something to read in it.
MESSAGE = r"^[^\x00]*[^\s\x00-\x1f][^\x00]*$"

Title = Annotated[
    str, Field(min_length=1, max_length=TITLE_MAX, pattern=LINE, examples=["buy milk"]), AfterValidator(str.strip)
]
Description = Annotated[str, Field(max_length=DESCRIPTION_MAX, pattern=TEXT, examples=["two litres, fresh"])]
IdempotencyKey = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._:-]+$")]

TASK_EXAMPLE: Any = {
    "id": "6f2c1a34-6f0e-4c57-9a55-0f8f8f6f3f10",
    "title": "buy milk",
    "description": "two litres, fresh",
    "completed": False,
    "created_at": "2026-11-24T08:00:00Z",
    "updated_at": "2026-11-24T08:00:00Z",
}
CONVERSATION_EXAMPLE: Any = {
    "id": "1b9e2a50-0a3c-4f0e-8e57-3c7a2a1f4d11",
    "title": "add a task: buy milk",
    "created_at": "2026-11-24T08:00:00Z",
    "updated_at": "2026-11-24T08:00:02Z",
}
TOOL_CALL_EXAMPLE: Any = {"name": "add_task", "arguments": {"title": "buy milk"}, "result": TASK_EXAMPLE}
CHAT_RESPONSE_EXAMPLE: Any = {
    "conversation_id": CONVERSATION_EXAMPLE["id"],
    "reply": 'I added "buy milk" to your tasks.',
    "tool_calls": [TOOL_CALL_EXAMPLE],
}


class Input(BaseModel):
    """A request body: unknown members are an error."""

    model_config = ConfigDict(extra="forbid")


class TaskCreate(Input):
    """A new task."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "buy milk", "description": "two litres, fresh"}]}
    )

    title: Title
    description: Description | None = None
    completed: StrictBool = False


def _at_least_one_member(schema: dict[str, Any]) -> None:
    """Say in the schema what TaskUpdate checks: members may be absent (and then have no default), but not all."""
    schema["minProperties"] = 1
    for member in schema["properties"].values():
        member.pop("default", None)


class TaskUpdate(Input):
    """The members to change; at least one. `null` clears the description."""

    model_config = ConfigDict(json_schema_extra=_at_least_one_member)

    title: Title = Field(default="", examples=["buy oat milk"])  # a default is never looked at: see `changes`
    description: Description | None = None
    completed: StrictBool = Field(default=False, examples=[True])

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("Give at least one member to change.")
        return self

    @property
    def changes(self) -> dict[str, Any]:
        """The members that were given."""
        return self.model_dump(exclude_unset=True)


class TaskRead(BaseModel):
    """A task."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [TASK_EXAMPLE]})

    id: UUID
    title: str
    description: str | None
    completed: bool
    created_at: datetime
    updated_at: datetime


class TaskPage(BaseModel):
    """A page of tasks, newest first; `total` counts all that match."""

    items: list[TaskRead]
    total: int = Field(ge=0)
    limit: int
    offset: int


class ToolCall(BaseModel):
    """A call of an MCP tool that the assistant made."""

    model_config = ConfigDict(json_schema_extra={"examples": [TOOL_CALL_EXAMPLE]})

    name: str
    arguments: dict[str, Any]
    result: Any = Field(description="What the tool answered: JSON, or text.")


class ChatResponse(BaseModel):
    """The assistant's answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [CHAT_RESPONSE_EXAMPLE]})

    conversation_id: UUID
    reply: str
    tool_calls: list[ToolCall]


class ConversationRead(BaseModel):
    """A conversation without its messages."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [CONVERSATION_EXAMPLE]})

    id: UUID
    title: str
    created_at: datetime
    updated_at: datetime


class ConversationPage(BaseModel):
    """A page of conversations, the last used first."""

    items: list[ConversationRead]
    total: int = Field(ge=0)
    limit: int
    offset: int


class Message(BaseModel):
    """One message of a conversation."""

    role: str = Field(pattern="^(user|assistant)$", examples=["assistant"])
    content: str
    tool_calls: list[ToolCall] = []
    created_at: datetime


class ConversationDetail(ConversationRead):
    """A conversation with its messages, the oldest first; of a long one the last turns."""

    messages: list[Message]
    truncated: bool = Field(description="Whether older messages were left out.")

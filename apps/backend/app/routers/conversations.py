"""/api/conversations"""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request

from app.auth import CurrentUser
from app.conversations import ConversationService
from app.problems import responses
from app.routers.tasks import Limit, Offset
from app.schemas import ConversationDetail, ConversationPage

router = APIRouter(prefix="/api/conversations", tags=["conversations"], responses=responses(401, 422, 429, 503))


def _conversations(request: Request) -> ConversationService:
    service: ConversationService = request.app.state.conversations
    return service


@router.get("", summary="List conversations", operation_id="listConversations")
async def list_conversations(
    request: Request, user: CurrentUser, limit: Limit = 50, offset: Offset = 0
) -> ConversationPage:
    """The user's conversations, the last used first."""
    return await _conversations(request).list(user.id, limit=limit, offset=offset)


@router.get(
    "/{conversation_id}", summary="Read a conversation", operation_id="getConversation", responses=responses(404)
)
async def get_conversation(request: Request, user: CurrentUser, conversation_id: UUID) -> ConversationDetail:
    """A conversation with its messages."""
    return await _conversations(request).get(user.id, conversation_id)


@router.delete(
    "/{conversation_id}",
    status_code=204,
    summary="Delete a conversation",
    operation_id="deleteConversation",
    responses=responses(404),
)
async def delete_conversation(request: Request, user: CurrentUser, conversation_id: UUID) -> None:
    """Delete a conversation with its messages."""
    await _conversations(request).delete(user.id, conversation_id)

"""The paths of conversations in the OpenAPI document."""

from __future__ import annotations

from api.conversations.routes import CreateConversation, CreateItems, UpdateConversation
from api.openapi.operation import INCLUDE, operation, page, parameter
from api.openapi.schemas import ref
from open_responses.json_types import JsonObject


def conversation_paths() -> JsonObject:
    conversation_id = parameter("conversation_id", "path")
    return {
        "/v1/conversations": {
            "post": operation(
                "createConversation",
                "Create a conversation, empty or with items",
                {200: ("", ref("Conversation"), {})},
                request=CreateConversation,
                may_be_empty=True,
                errors=(404,),
            )
        },
        "/v1/conversations/{conversation_id}": {
            "get": operation(
                "getConversation",
                "Get a conversation, without its items",
                {200: ("", ref("Conversation"), {})},
                parameters=[conversation_id],
                errors=(404,),
            ),
            "post": operation(
                "updateConversation",
                "Replace all metadata of a conversation",
                {200: ("", ref("Conversation"), {})},
                parameters=[conversation_id],
                request=UpdateConversation,
                errors=(404,),
            ),
            "delete": operation(
                "deleteConversation",
                "Delete a conversation. Its responses are kept",
                {200: ("", ref("DeletedConversation"), {})},
                parameters=[conversation_id],
                errors=(404,),
            ),
        },
        "/v1/conversations/{conversation_id}/items": {
            "get": operation(
                "listConversationItems",
                "List the items of a conversation",
                {200: ("", ref("ItemPage"), {})},
                parameters=[conversation_id, *page(), INCLUDE],
                errors=(400, 404),
            ),
            "post": operation(
                "createConversationItems",
                "Add items at the end of a conversation",
                {200: ("", ref("ItemPage"), {})},
                parameters=[conversation_id, INCLUDE],
                request=CreateItems,
                errors=(404, 409),
            ),
        },
        "/v1/conversations/{conversation_id}/items/{item_id}": {
            "get": operation(
                "getConversationItem",
                "Get one item of a conversation",
                {200: ("", ref("ListedItem"), {})},
                parameters=[conversation_id, parameter("item_id", "path"), INCLUDE],
                errors=(400, 404),
            ),
            "delete": operation(
                "deleteConversationItem",
                "Delete one item, and get the conversation",
                {200: ("", ref("Conversation"), {})},
                parameters=[conversation_id, parameter("item_id", "path")],
                errors=(404,),
            ),
        },
    }

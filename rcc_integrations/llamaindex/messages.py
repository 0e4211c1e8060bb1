"""LlamaIndex's messages as turns of a conversation, and answers as its responses."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, cast

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    DocumentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from rcc_integrations.chat.conversation import Said
from rcc_integrations.chat.output import Written
from rcc_integrations.chat.tools import call_text
from rcc_integrations.errors import ConfigError, UnreadableFileError
from rcc_integrations.reader.answer import Answer
from rcc_integrations.reader.prompt import Role

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "chatbot": "assistant", "model": "assistant",
                           "system": "system", "developer": "system", "tool": "tool", "function": "tool"}  # fmt: skip


def said(messages: Sequence[ChatMessage]) -> list[Said]:
    """Read messages.

    Args:
        messages: In order.

    Raises:
        ConfigError: If a message holds what the model cannot read, such as an image.
    """
    return [_said(message) for message in messages]


def _said(message: ChatMessage) -> Said:
    role = _ROLES[message.role.value]
    texts: list[str] = []
    documents: list[str] = []
    calls: list[str] = []
    for block in message.blocks:
        if isinstance(block, TextBlock):
            texts.append(block.text)
        elif isinstance(block, DocumentBlock):
            documents.append(_document(block))
        elif isinstance(block, ToolCallBlock):
            calls.append(call_text(block.tool_name, block.tool_kwargs))
        elif not isinstance(block, ThinkingBlock):
            raise ConfigError(
                f"A message holds a content block of type {block.block_type!r}, which this model cannot read; it "
                "reads text, and documents as DocumentBlock."
            )
    before = f"Result of {message.additional_kwargs.get('name') or 'the function'}: " if role == "tool" else ""
    return Said(role, texts, documents, before, calls)


def response_of(written: Written, *, streamed: bool = False) -> ChatResponse:
    """Return an answer as a response.

    Args:
        written: The answer, read.
        streamed: Whether it ends a stream; its delta is what was not shown before.
    """
    answer, calls = written.answer, written.calls
    blocks: list[Any] = [TextBlock(text=written.text)] if written.text or not calls else []
    blocks += [ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.arguments) for call in calls]
    message = ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks)
    if calls:
        message.additional_kwargs["tool_calls"] = [asdict(call) for call in calls]
    delta = written.rest if streamed else None
    return ChatResponse(message=message, raw=raw_of(answer), delta=delta, additional_kwargs=figures(answer))


def raw_of(answer: Answer) -> dict[str, Any]:
    """Return an answer as the `raw` of a response, where LlamaIndex's token counter looks for `usage`."""
    return {"answer": answer, "usage": figures(answer)}


def answer_of(response: ChatResponse) -> Answer:
    """Return the answer that a whole response was made from."""
    raw: Any = response.raw
    answer: Answer = raw["answer"]
    return answer


def figures(answer: Answer) -> dict[str, Any]:
    """Return what an answer took, with the names that LlamaIndex's token counter looks for."""
    given = answer.usage.input_tokens
    return {
        "prompt_tokens": given,
        "completion_tokens": answer.usage.answer_tokens,
        "total_tokens": given + answer.usage.answer_tokens,
        "memory_slots": answer.usage.memory_slots,
        "finish_reason": answer.finish_reason,
        "timings": asdict(answer.timings),
    }


def _document(block: DocumentBlock) -> str:
    from rcc_integrations.files.examine import examine_stream
    from rcc_integrations.files.source import SIZE_LIMIT, SourceFile

    if block.url is not None:
        raise ConfigError(f"Fetch the document block's {str(block.url)!r} first; nothing is fetched at run time.")
    place = Path(str(block.path)) if block.path else None
    suffix = (place.suffix if place else "") or mimetypes.guess_extension(block.document_mimetype or "") or ".txt"
    name = place.name if place else f"{block.title or 'document'}{suffix}"
    found = examine_stream(name, cast(BinaryIO, block.resolve_document()), SIZE_LIMIT)
    if not isinstance(found, SourceFile):
        raise UnreadableFileError(f"The document block {name!r} cannot be read: {found.reason}.")
    return found.read().text

"""LangChain's messages as turns of a conversation and documents to compress."""

from __future__ import annotations

import base64
import io
import mimetypes
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, FunctionMessage, SystemMessage, ToolMessage

from rcc_integrations.chat.conversation import Said
from rcc_integrations.chat.tools import call_text
from rcc_integrations.errors import ConfigError, UnreadableFileError
from rcc_integrations.reader.prompt import Role

_ROLES: dict[str, Role] = {"human": "user", "user": "user", "ai": "assistant", "assistant": "assistant",
                           "system": "system", "developer": "system", "tool": "tool", "function": "tool"}  # fmt: skip


def said(messages: Sequence[BaseMessage]) -> list[Said]:
    """Read messages.

    Args:
        messages: In order.

    Raises:
        ConfigError: If a message holds what the model cannot read, such as an image.
    """
    return [_said(message) for message in messages]


def _said(message: BaseMessage) -> Said:
    role = _role(message)
    texts, documents = _content(message)
    before, calls = "", list[str]()
    if isinstance(message, AIMessage):
        calls = [call_text(call["name"], call["args"]) for call in message.tool_calls]
    elif isinstance(message, ToolMessage):
        failed = " failed" if getattr(message, "status", "success") == "error" else ""
        before = f"Result of {message.name or 'the function'}{failed}: "
    elif message.name and role == "user":
        before = f"{message.name}: "
    return Said(role, texts, documents, before, calls)


def _role(message: BaseMessage) -> Role:
    if isinstance(message, SystemMessage):
        return "system"
    if isinstance(message, FunctionMessage | ToolMessage):
        return "tool"
    name = message.role if isinstance(message, ChatMessage) else message.type.removesuffix("MessageChunk").lower()
    if name not in _ROLES:
        raise ConfigError(f"A message has the role {name!r}; the roles are {', '.join(sorted(_ROLES))}.")
    return _ROLES[name]


def _content(message: BaseMessage) -> tuple[list[str], list[str]]:
    """Return texts to read as uncompressed text, and texts of documents."""
    if isinstance(message.content, str):
        return [message.content], []
    texts: list[str] = []
    documents: list[str] = []
    for block in message.content:
        if isinstance(block, str):
            texts.append(block)
            continue
        kind = block.get("type")
        if kind in ("text", "input_text", "output_text"):
            texts.append(str(block.get("text", "")))
        elif kind == "tool_result":
            inner = block.get("content", "")
            parts = inner if isinstance(inner, list) else [inner]
            texts += [str(part.get("text", "")) if isinstance(part, dict) else str(part) for part in parts]
        elif kind in ("tool_use", "tool_call", "reasoning", "thinking", "function_call"):
            # Calls are in `tool_calls`; what a model thought is not part of the conversation.
            continue
        elif kind in ("text-plain", "document", "file"):
            documents.append(_document(block))
        else:
            raise ConfigError(
                f"A message holds a content block of type {kind!r}, which this model cannot read; "
                "it reads text, and documents as 'text-plain' or 'file' blocks."
            )
    return texts, documents


def _document(block: dict[str, Any]) -> str:
    """Return the text of a document block: plain text, or a file of a kind that the package reads."""
    source = block.get("source")
    if isinstance(source, dict):
        block = {**block, "mime_type": source.get("media_type"), **{source.get("type", ""): source.get("data")}}
    if isinstance(block.get("text"), str):
        return str(block["text"])
    data = block.get("base64") or block.get("data")
    if not isinstance(data, str):
        raise ConfigError(
            "A document block needs its text ('text') or its bytes ('base64'); fetch what is behind a URL or a file "
            f"id first. It has {', '.join(sorted(key for key in block if block[key]))}."
        )
    from rcc_integrations.files.examine import examine_stream
    from rcc_integrations.files.source import SIZE_LIMIT, SourceFile

    try:
        raw = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise ConfigError(f"The bytes of a document block are not base64: {error}.") from error
    suffix = mimetypes.guess_extension(str(block.get("mime_type") or "")) or ""
    name = str(block.get("filename") or block.get("name") or block.get("title") or f"document{suffix}")
    found = examine_stream(name, io.BytesIO(raw), SIZE_LIMIT)
    if not isinstance(found, SourceFile):
        raise UnreadableFileError(f"The document block {name!r} cannot be read: {found.reason}.")
    return found.read().text

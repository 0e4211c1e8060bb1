"""LangChain's messages as turns of a conversation and documents to compress."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, FunctionMessage, SystemMessage, ToolMessage

from rcc_integrations.chat import Role, Turn
from rcc_integrations.errors import ConfigError, UnreadableFileError

_ROLES: dict[str, Role] = {"human": "user", "user": "user", "ai": "assistant", "assistant": "assistant",
                           "system": "system", "developer": "system", "tool": "tool", "function": "tool"}  # fmt: skip


@dataclass
class Conversation:
    """What messages hold.

    Args:
        turns: What was said, in order.
        documents: Texts to be read from memory, by an id made from their content.
    """

    turns: list[Turn] = field(default_factory=list)
    documents: dict[str, str] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """What the user said last; windows are chosen by it."""
        return next((turn.content for turn in reversed(self.turns) if turn.role in ("user", "tool")), "")


def conversation(messages: Sequence[BaseMessage], compress_over: int | None, count: Any) -> Conversation:
    """Read messages.

    Args:
        messages: In order.
        compress_over: Texts of users and tools with more tokens than this become documents; `None` for never.
        count: Returns the number of tokens of a text.

    Raises:
        ConfigError: If a message holds what the model cannot read, such as an image.
    """
    found = Conversation()
    for message in messages:
        role = _role(message)
        texts, documents = _content(message)
        for text in documents:
            found.documents[_id(text)] = text
        kept = []
        for text in texts:
            # A character is at most a token, so short texts need no counting.
            if compress_over is not None and role in ("user", "tool") and len(text) > compress_over < count(text):
                found.documents[_id(text)] = text
            else:
                kept.append(text)
        said = "\n".join(kept)
        if isinstance(message, AIMessage) and message.tool_calls:
            calls = [tool_call_text(call["name"], call["args"]) for call in message.tool_calls]
            said = "\n".join([*([said] if said else []), *calls])
        elif isinstance(message, ToolMessage):
            failed = " failed" if getattr(message, "status", "success") == "error" else ""
            said = f"Result of {message.name or 'the function'}{failed}: {said}"
        elif message.name and role == "user":
            said = f"{message.name}: {said}"
        found.turns.append(Turn(role, said))
    return found


def tool_call_text(name: str, arguments: Any) -> str:
    """Return a call of a function as the model writes it."""
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}</tool_call>"


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
    """Return texts to read in clear, and texts of documents."""
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


def _id(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

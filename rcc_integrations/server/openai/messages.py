"""OpenAI's messages and prompts."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from rcc_integrations.chat.tools import call_text
from rcc_integrations.reader.prompt import Role
from rcc_integrations.server.failures import RequestError
from rcc_integrations.server.openai.asking import Message
from rcc_integrations.server.settings import ServerSettings
from rcc_integrations.server.uploads import as_source, document_name

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system",
                           "tool": "tool", "function": "tool"}  # fmt: skip
_TEXTS = ("text", "input_text", "output_text", "refusal")

#: Returns the name and bytes of an uploaded file.
FileLookup = Callable[[str], tuple[str, bytes]]


def read_messages(messages: Iterable[dict[str, Any]], settings: ServerSettings, files: FileLookup) -> list[Message]:
    """Read messages of `/v1/chat/completions`.

    Args:
        messages: In order.
        settings: The server's settings, for files in messages.
        files: Finds files that messages name.

    Raises:
        RequestError: A message holds what the model cannot read, such as an image.
    """
    told = []
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        role = _role(message.get("role"), where)
        texts, documents = content_of(message.get("content"), where, settings, files)
        calls = [_call(call, f"{where}.tool_calls") for call in message.get("tool_calls") or ()]
        before = ""
        if role == "tool":
            before = f"Result of {message.get('name') or 'the function'}: "
        elif message.get("name") and role == "user":
            before = f"{message['name']}: "
        told.append(Message(role, texts, documents, before, calls))
    return told


def content_of(content: Any, where: str, settings: ServerSettings, files: FileLookup) -> tuple[list[str], list[str]]:
    """Return texts to read as uncompressed text, and texts of documents.

    Args:
        content: A message's content: text, or a list of parts.
        where: Its place in the request, for messages.
        settings: The server's settings.
        files: Finds files that parts name.

    Raises:
        RequestError: A part cannot be read.
    """
    if content is None or isinstance(content, str):
        return [content or ""], []
    if not isinstance(content, list):
        raise _wrong(f"{where}.content", "must be text or a list of parts")
    texts: list[str] = []
    documents: list[str] = []
    for number, part in enumerate(content):
        place = f"{where}.content[{number}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in _TEXTS:
            texts.append(str(part.get("text", part.get("refusal", ""))))
        elif kind in ("file", "input_file"):
            documents.append(_file(part.get("file") or part, place, settings, files))
        else:
            raise _wrong(f"{place}.type", f"{kind!r} cannot be read: this model reads text and files")
    return texts, documents


def read_prompt(prompt: str) -> list[Message]:
    """Read a prompt; one that a framework made of messages (`user: …` and `assistant:` in lines of their own) is these.

    Args:
        prompt: The prompt.
    """
    if re.search(r"\nassistant:\s*$", prompt):
        pieces = re.split(r"(?:^|\n)(system|user|assistant|tool): ?", re.sub(r"\nassistant:\s*$", "", prompt))
        if not pieces[0].strip() and len(pieces) >= 3:
            pairs = zip(pieces[1::2], pieces[2::2], strict=True)
            return [Message(_ROLES[role], [text.strip()]) for role, text in pairs]
    return [Message("user", [prompt])]


def _role(role: Any, where: str) -> Role:
    if role not in _ROLES:
        raise _wrong(f"{where}.role", f"{role!r} is none of {', '.join(_ROLES)}")
    return _ROLES[role]


def _call(call: Any, where: str) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise _wrong(where, "holds no call of a function")
    try:
        return call_text(function["name"], json.loads(function.get("arguments") or "{}"))
    except (TypeError, ValueError) as error:
        raise _wrong(where, f"holds arguments that are no JSON: {error}") from error


def _file(part: dict[str, Any], where: str, settings: ServerSettings, files: FileLookup) -> str:
    if isinstance(part.get("file_id"), str):
        name, data = files(part["file_id"])
    else:
        given = str(part.get("file_data") or "")
        try:
            data = base64.b64decode(given.partition(";base64,")[2] or given, validate=True)
        except (binascii.Error, ValueError) as error:
            raise _wrong(where, f"needs 'file_id', or bytes as base64 in 'file_data': {error}") from error
        name = document_name(str(part.get("filename") or "document"))
    source, reason = as_source(name, data, settings)
    if source is None:
        raise _wrong(where, f"{name!r} cannot be read: {reason}")
    return source.read().text


def _wrong(where: str, what: str) -> RequestError:
    return RequestError(400, f"Invalid value for '{where}': {what}.", param=where, code="invalid_value")

"""Uploaded files: their names, kinds and sizes checked, then sources to add."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from starlette.datastructures import UploadFile

from rcc_integrations.files.examine import examine_stream
from rcc_integrations.files.names import id_fault, printable
from rcc_integrations.files.source import SourceFile
from rcc_integrations.server.failures import RequestError
from rcc_integrations.server.settings import ServerSettings


def document_name(name: str) -> str:
    """Return the document id of an uploaded file.

    A browser sends the path below the folder that was dropped. It becomes a name and never a path: no part of it leads
    anywhere.

    Args:
        name: What the client says, with `/` or a backslash between its parts.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts)


def as_source(name: str, data: bytes, settings: ServerSettings) -> tuple[SourceFile | None, str]:
    """Check an uploaded file.

    Args:
        name: Its document id.
        data: Its bytes.
        settings: The server's settings.

    Returns:
        The file, or none and the reason why it cannot be read.
    """
    if fault := id_fault(name):
        return None, fault
    found = examine_stream(name, io.BytesIO(data), settings.max_file_bytes)
    if isinstance(found, SourceFile):
        return replace(found, source=printable(name)), ""
    return None, found.reason


async def read_uploads(
    uploads: Iterable[Any], settings: ServerSettings
) -> tuple[list[SourceFile], list[tuple[str, str]], int]:
    """Read uploaded files.

    Args:
        uploads: Files of a form; other fields are left out.
        settings: The server's settings.

    Returns:
        The files that can be read; pairs of name and reason of the others; and how many bytes the former hold.

    Raises:
        RequestError: There is none, or there are too many.
    """
    given = [upload for upload in uploads if isinstance(upload, UploadFile)]
    if not given:
        raise RequestError(400, "The form holds no file: send some as 'files'.", param="files", code="no_file")
    if len(given) > settings.max_files:
        raise RequestError(
            413, f"{len(given)} files are more than the {settings.max_files} that are taken at once: send fewer.",
            param="files", code="too_many_files",
        )  # fmt: skip
    sources: dict[str, SourceFile] = {}
    skipped: list[tuple[str, str]] = []
    held = 0
    for upload in given:
        name = document_name(upload.filename or "")
        data = await upload.read(settings.max_file_bytes + 1)
        if not name:
            skipped.append((printable(upload.filename or "?"), "it has no name"))
            continue
        source, reason = as_source(name, data, settings)
        if source is None:
            skipped.append((printable(name), reason))
        elif name in sources:
            skipped.append((name, "another file of this upload has the same name"))
        else:
            sources[name] = source
            held += len(data)
    return list(sources.values()), skipped, held

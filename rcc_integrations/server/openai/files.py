"""`/v1/files`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from rcc_integrations.server.failures import RequestError
from rcc_integrations.server.openai.file_store import FileStore, StoredFile, Upload
from rcc_integrations.server.openai.listing import page
from rcc_integrations.server.service import Service
from rcc_integrations.server.uploads import as_source, document_name


def router(service: Service, files: FileStore) -> APIRouter:
    """Return the routes.

    Args:
        service: What answers.
        files: Uploaded files.
    """
    routes = APIRouter(tags=["OpenAI"])

    @routes.post("/files")
    async def create_file(http: Request) -> dict[str, Any]:
        """Upload a file; it is kept until it is put into a vector store, or the server ends."""
        async with http.form(max_files=1, max_fields=10) as form:
            given = form.get("file")
            if not isinstance(given, UploadFile):
                raise RequestError(400, "The form holds no file: send one as 'file'.", param="file", code="no_file")
            name = document_name(given.filename or "")
            data = await given.read(service.settings.max_file_bytes + 1)
            purpose = str(form.get("purpose") or "assistants")
        source, reason = as_source(name, data, service.settings)
        if source is None:
            raise RequestError(400, f"{name!r} cannot be read: {reason}.", param="file", code="unreadable_file")
        return _shape(files.upload(name, data, purpose))

    @routes.get("/files")
    def list_files(limit: int = 10000, order: str = "desc", after: str | None = None) -> dict[str, Any]:
        """List uploads, and the documents of all collections."""
        found = [*map(_shape, files.uploads()), *map(_shape, files.stored())]
        return page(found, limit, order, after)

    @routes.get("/files/{id}")
    def get_file(id: str) -> dict[str, Any]:
        """Describe a file."""
        return _shape(files.find(id))

    @routes.get("/files/{id}/content", response_model=None)
    def get_file_content(id: str) -> Response:
        """Return a file's bytes; of a document, its text."""
        _, data = files.read(id)
        return Response(data, media_type="application/octet-stream", headers={"Content-Disposition": "attachment"})

    @routes.delete("/files/{id}")
    def delete_file(id: str) -> dict[str, Any]:
        """Delete an upload, or a document from its collection."""
        file = files.find(id)
        if isinstance(file, StoredFile):
            service.reader.delete(file.collection.name, [file.document.id])
        files.forget(id)
        return {"id": id, "object": "file", "deleted": True}

    return routes


def _shape(file: Upload | StoredFile) -> dict[str, Any]:
    shape = {"id": file.id, "object": "file", "expires_at": None, "status": "processed", "status_details": None}
    if isinstance(file, Upload):
        return {**shape, "bytes": len(file.data), "created_at": int(file.created), "filename": file.name,
                "purpose": file.purpose}  # fmt: skip
    document = file.document
    return {**shape, "bytes": document.characters, "created_at": int(document.added), "filename": document.id,
            "purpose": "assistants"}  # fmt: skip

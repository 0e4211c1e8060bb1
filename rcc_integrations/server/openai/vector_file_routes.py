"""`/v1/vector_stores/{id}/files` and `/file_batches`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from rcc_integrations.server.failures import RequestError
from rcc_integrations.server.openai.file_store import FileStore
from rcc_integrations.server.openai.listing import page
from rcc_integrations.server.openai.schema import FileBatchRequest, VectorFileRequest
from rcc_integrations.server.openai.vector_files import VectorFiles
from rcc_integrations.server.service import Service

#: How long OpenAI's client waits between two looks at what is being added.
_POLL = "200"


def router(service: Service, files: FileStore, contents: VectorFiles) -> APIRouter:
    """Return the routes.

    Args:
        service: What answers.
        files: Uploaded files.
        contents: Files in vector stores.
    """
    routes = APIRouter(prefix="/vector_stores/{id}", tags=["OpenAI"])

    @routes.post("/files")
    def attach_file(id: str, body: VectorFileRequest) -> dict[str, Any]:
        """Add a file to a collection; look at it until its status is `completed`."""
        record = contents.collection(id)
        contents.attach(record, [(body.file_id, body.attributes or {})])
        return contents.shape(record, body.file_id)

    @routes.get("/files")
    def list_files(
        id: str, limit: int = 20, order: str = "desc", after: str | None = None, before: str | None = None,
        filter: str | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """List the files of a collection."""
        shapes = contents.shapes(contents.collection(id))
        return page([each for each in shapes if filter in (None, each["status"])], limit, order, after, before)

    @routes.get("/files/{file}")
    def get_file(id: str, file: str, response: Response) -> dict[str, Any]:
        """Say how far a file is."""
        response.headers["openai-poll-after-ms"] = _POLL
        return contents.shape(contents.collection(id), file)

    @routes.post("/files/{file}")
    def change_file(id: str, file: str, body: dict[str, Any]) -> dict[str, Any]:
        """Change a file's attributes."""
        record = contents.collection(id)
        attributes = VectorFileRequest(file_id=file, attributes=body.get("attributes")).attributes or {}
        for stored in files.stored_in(record):
            if stored.id == file:
                metadata = {**stored.document.metadata, "file_id": file, "attributes": attributes}
                service.reader.store.update_document(record.name, stored.document.id, metadata=metadata)
                return contents.shape(record, file)
        return contents.shape(record, file)

    @routes.get("/files/{file}/content")
    def get_content(id: str, file: str) -> dict[str, Any]:
        """Return a file's text."""
        contents.shape(contents.collection(id), file)
        _, data = files.read(file)
        return {"object": "vector_store.file_content.page", "has_more": False, "next_page": None,
                "data": [{"type": "text", "text": data.decode("utf-8", "replace")}]}  # fmt: skip

    @routes.delete("/files/{file}")
    def remove_file(id: str, file: str) -> dict[str, Any]:
        """Remove a file's document from a collection."""
        record = contents.collection(id)
        for stored in files.stored_in(record):
            if stored.id == file:
                service.reader.delete(record.name, [stored.document.id])
                return {"id": file, "object": "vector_store.file.deleted", "deleted": True}
        raise RequestError(404, f"No file found with id '{file}' in this vector store.", param="file_id",
                           code="file_not_found")  # fmt: skip

    @routes.post("/file_batches")
    def create_batch(id: str, body: FileBatchRequest) -> dict[str, Any]:
        """Add several files to a collection."""
        wanted = [(each.file_id, each.attributes or {}) for each in body.files or ()]
        wanted += [(file, body.attributes or {}) for file in body.file_ids or ()]
        if not wanted:
            raise RequestError(400, "Name files as 'file_ids' or 'files'.", param="file_ids", code="missing_value")
        return contents.batch_shape(contents.attach(contents.collection(id), wanted))

    @routes.get("/file_batches/{batch}")
    def get_batch(id: str, batch: str, response: Response) -> dict[str, Any]:
        """Say how far a batch is."""
        response.headers["openai-poll-after-ms"] = _POLL
        return contents.batch_shape(contents.batch(batch))

    @routes.post("/file_batches/{batch}/cancel")
    def cancel_batch(id: str, batch: str) -> dict[str, Any]:
        """Stop a batch; documents that are done stay."""
        service.jobs.cancel(contents.batch(batch).job.id)
        return contents.batch_shape(contents.batch(batch))

    @routes.get("/file_batches/{batch}/files")
    def list_batch_files(
        id: str, batch: str, limit: int = 20, order: str = "desc", after: str | None = None, before: str | None = None
    ) -> dict[str, Any]:
        """List the files of a batch."""
        wanted = contents.batch(batch).documents
        shapes = [each for each in contents.shapes(contents.collection(id)) if each["id"] in wanted]
        return page(shapes, limit, order, after, before)

    return routes

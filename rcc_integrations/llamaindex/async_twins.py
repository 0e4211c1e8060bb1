"""`AsyncTwins`: the asynchronous methods of an index, which keep the event loop free."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode, Document


class AsyncTwins:
    """Runs every changing method of the index in a thread; LlamaIndex's own twins would compress on the event loop."""

    async def ainsert_nodes(self: Any, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        """Do as `insert_nodes`."""
        await asyncio.to_thread(self.insert_nodes, nodes, **insert_kwargs)

    async def ainsert(self: Any, document: Document, **insert_kwargs: Any) -> None:
        """Do as `insert`."""
        await asyncio.to_thread(self.insert, document, **insert_kwargs)

    async def adelete_nodes(
        self: Any, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        """Do as `delete_nodes`."""
        await asyncio.to_thread(self.delete_nodes, node_ids, delete_from_docstore, **delete_kwargs)

    async def adelete_ref_doc(
        self: Any, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        """Do as `delete_ref_doc`."""
        await asyncio.to_thread(self.delete_ref_doc, ref_doc_id, delete_from_docstore, **delete_kwargs)

    async def aupdate_ref_doc(self: Any, document: Document, **update_kwargs: Any) -> None:
        """Do as `update_ref_doc`."""
        await asyncio.to_thread(self.update_ref_doc, document, **update_kwargs)

    async def arefresh_ref_docs(self: Any, documents: Sequence[Document], **update_kwargs: Any) -> list[bool]:
        """Do as `refresh_ref_docs`."""
        found: list[bool] = await asyncio.to_thread(self.refresh_ref_docs, documents, **update_kwargs)
        return found

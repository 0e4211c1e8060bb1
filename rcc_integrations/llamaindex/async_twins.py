"""`AsyncTwins`: the asynchronous methods of an index, which keep the event loop free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode, Document

from rcc_integrations.llamaindex.changing import ChangingIndex
from rcc_integrations.llamaindex.serial_worker import SerialWorker


class AsyncTwins(ChangingIndex):
    """Runs every changing method in a thread; LlamaIndex's own twins would compress on the event loop.

    The thread is the index's own: changes are done in the order in which they were asked for, and many that wait do not
    take up the threads in which questions are prepared. A change whose task is cancelled stops soon.
    """

    _worker: SerialWorker

    async def ainsert_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        """Do as `insert_nodes`."""
        await self._worker.run(self.insert_nodes, nodes, **insert_kwargs)

    async def ainsert(self, document: Document, **insert_kwargs: Any) -> None:
        """Do as `insert`."""
        await self._worker.run(self.insert, document, **insert_kwargs)

    async def adelete_nodes(
        self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        """Do as `delete_nodes`."""
        await self._worker.run(self.delete_nodes, node_ids, delete_from_docstore, **delete_kwargs)

    async def adelete_ref_doc(self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any) -> None:
        """Do as `delete_ref_doc`."""
        await self._worker.run(self.delete_ref_doc, ref_doc_id, delete_from_docstore, **delete_kwargs)

    async def aupdate_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        """Do as `update_ref_doc`."""
        await self._worker.run(self.update_ref_doc, document, **update_kwargs)

    async def arefresh_ref_docs(self, documents: Sequence[Document], **update_kwargs: Any) -> list[bool]:
        """Do as `refresh_ref_docs`."""
        return await self._worker.run(self.refresh_ref_docs, documents, **update_kwargs)

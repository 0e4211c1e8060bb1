"""Documents that come again under another id, as readers give random ones: noticed by what they are."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Sequence

from llama_index.core.schema import Document

from rcc_integrations.llamaindex.nodes import Stored, content_of, place_of
from rcc_integrations.llamaindex.nodes_held import HeldNodes

_log = logging.getLogger(__name__)


def known_again(documents: Sequence[Document], held: HeldNodes, collection: str) -> tuple[list[Document], list[Stored]]:
    """Tell documents that are there under another random id from new ones.

    Only ids that a reader made up are looked through; an id that somebody chose names a document of its own. The same
    content is the same document, and stays under the id that it has. One document of a file, or of a page of it, stands
    for the one of that file that was there before.

    Args:
        documents: What is to be put in.
        held: What is there.
        collection: Name of the collection, for the log.

    Returns:
        The documents that are new or changed, and what they take the place of.
    """
    coming = {document.id_ for document in documents}
    new = [document for document in documents if _is_random(document.id_) and not held.of_source(document.id_)]
    if not new:
        return list(documents), []
    places = Counter(place for document in new if (place := place_of(document.metadata)) is not None)
    same: set[str] = set()
    taken: set[str] = set()
    replaced: list[Stored] = []

    def free(nodes: Sequence[Stored]) -> list[Stored]:
        return [each for each in nodes if each.source is not None and each.source not in coming
                and each.source not in taken and _is_random(each.source)]  # fmt: skip

    for document in new:
        content = content_of(document.get_content(), document.metadata)
        there = free(held.of_content(content)) or free(held.of_hash(document.hash))
        if there:
            taken.add(str(there[0].source))
            same.add(document.id_)
    for document in new:
        place = place_of(document.metadata)
        if document.id_ in same or place is None or places[place] > 1:
            continue
        old = free(held.of_place(place))
        if len({each.source for each in old}) == 1:
            taken.add(str(old[0].source))
            replaced += old
    if same or replaced:
        _log.warning(
            "%d document(s) were in collection %r under other ids, and %d have changed since: they were not put in "
            "twice. Give documents ids that last, such as SimpleDirectoryReader(…, filename_as_id=True).",
            len(same), collection, len({each.source for each in replaced}),
        )  # fmt: skip
    return [document for document in documents if document.id_ not in same], replaced


def _is_random(id: str) -> bool:
    try:
        return str(uuid.UUID(id)) == id
    except ValueError:
        return False

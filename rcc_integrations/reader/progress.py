"""The progress of adding documents, and its progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """The progress of adding documents.

    Args:
        document: Id of the document that was finished last or is being added.
        documents: Finished documents, including unchanged and skipped ones.
        total: Number of documents.
        tokens: Tokens compressed so far.
    """

    document: str
    documents: int
    total: int
    tokens: int


_Tell = Callable[[Progress], None]


@contextmanager
def progress_bar(show: bool, also: _Tell | None = None) -> Iterator[_Tell | None]:
    """Draw a progress bar on standard error while documents are added.

    Args:
        show: Whether to draw it.
        also: Callback for all progress as well.

    Yields:
        What to tell progress to; `None` if nobody wants it.
    """
    if not show:
        yield also
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("documents"),
        TextColumn("{task.fields[tokens]:,} tokens"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None, tokens=0)

        def tell(progress: Progress) -> None:
            bar.update(
                task,
                completed=progress.documents,
                total=progress.total,
                tokens=progress.tokens,
                description=progress.document.replace("[", "\\["),
            )
            if also is not None:
                also(progress)

        yield tell

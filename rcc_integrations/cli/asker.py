"""Who answers a command's questions: a server that is running on the store, or a model that is loaded here."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from rcc_integrations.cli.options import Settings

if TYPE_CHECKING:
    from rcc_integrations.reader.reader import RCCReader
    from rcc_integrations.server.client import ServerClient

#: One message of a conversation, `{"role": "user" or "assistant", "content": …}`.
Said = dict[str, str]


class Asker(Protocol):
    """Answers questions to one collection; answers are as `Answer.to_dict` returns them."""

    is_remote: bool

    def answer(self, question: str, **options: Any) -> dict[str, Any]:
        """Return an answer; options as of `RCCReader.ask`."""
        ...

    def stream(self, question: str, **options: Any) -> Generator[str | dict[str, Any]]:
        """Yield an answer's pieces, then the answer."""
        ...


class LocalAsker:
    """Answers with a model in this process.

    Args:
        reader: The reader.
        collection: The collection.
    """

    is_remote = False

    def __init__(self, reader: RCCReader, collection: str) -> None:
        self._reader, self._collection = reader, collection

    def answer(self, question: str, **options: Any) -> dict[str, Any]:
        """Return an answer."""
        return self._reader.ask(self._collection, question, **options).to_dict()

    def stream(self, question: str, **options: Any) -> Generator[str | dict[str, Any]]:
        """Yield an answer's pieces, then the answer."""
        from rcc_integrations.chat.followup import next_request

        request, _ = next_request(self._collection, question, options.pop("history", ()), options)
        with self._reader.stream_request(request) as stream:
            yield from stream
            yield stream.answer.to_dict()


class RemoteAsker:
    """Answers through a running server.

    Args:
        client: The server.
        collection: The collection.
    """

    is_remote = True

    def __init__(self, client: ServerClient, collection: str) -> None:
        self._client, self._collection = client, collection

    def answer(self, question: str, **options: Any) -> dict[str, Any]:
        """Return an answer."""
        answer = self._client.ask(self._collection, question, **_plain(options))
        del answer["refers_back"]
        return answer

    def stream(self, question: str, **options: Any) -> Generator[str | dict[str, Any]]:
        """Yield an answer's pieces, then the answer."""
        return self._client.stream(self._collection, question, **_plain(options))


@contextmanager
def open_asker(settings: Settings, collection: str, *, no_server: bool) -> Iterator[Asker]:
    """Find who answers.

    Args:
        settings: The command's settings.
        collection: The collection.
        no_server: Answer here in any case.

    Raises:
        StoreError: There is no store.
        UnknownCollectionError: There is no such collection.
    """
    client = None if no_server else settings.find_server()
    if client is not None:
        with settings.open_store() as store:
            store.collection(collection)
        yield RemoteAsker(client, collection)
        return
    with settings.open_reader() as reader:
        reader.store.collection(collection)  # before the model is loaded, which takes seconds
        yield LocalAsker(reader, collection)


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as JSON values; a server grounds answers unless told otherwise, this command does not."""
    plain: dict[str, Any] = {"grounded": False}
    for name, value in options.items():
        plain[name] = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
    return plain

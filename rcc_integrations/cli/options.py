"""Options that several commands share."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rcc_integrations.errors import ConfigError

if TYPE_CHECKING:
    from rcc_integrations.memory.store import MemoryStore
    from rcc_integrations.model.rcc_model import RCCModel
    from rcc_integrations.reader.reader import RCCReader
    from rcc_integrations.server.client import ServerClient

Json = Annotated[bool, typer.Option("--json", help="Write one JSON document to standard output.")]
Store = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="PATH", help="Folder of the store; same as --store before the command.", show_default=False
    ),
]
Collection = Annotated[str, typer.Argument(metavar="COLLECTION", help="Name of the collection.", show_default=False)]

#: How windows are chosen, as `rcc_integrations.reader.window_ranker.Routing` has it.
Routing = Annotated[
    Literal["both", "memory", "words"],
    typer.Option("--routing", help="Choose windows by memory and words, by memory, or by shared words alone."),
]


@dataclass(frozen=True)
class Settings:
    """The global options, which come before a command.

    Args:
        store: Folder of the store.
        model: Folder or hub id of a model; None for the default model.
        base: Folder or hub id of a causal LM to use without an adapter instead; None for none.
        device: Where the model runs; None to choose automatically.
        dtype: Its number format; None to choose automatically.
    """

    store: str
    model: str | None = None
    base: str | None = None
    device: str | None = None
    dtype: str | None = None

    @classmethod
    def of(cls, context: typer.Context, store: str | None) -> Settings:
        """Return the settings of a command.

        Args:
            context: The command's context.
            store: The value of `--store` after the command, if given.
        """
        settings = context.find_object(cls)
        assert settings is not None
        settings = settings if store is None else replace(settings, store=store)
        if not settings.store.strip():
            raise typer.BadParameter("the path is empty", param_hint="'--store'")
        return settings

    @property
    def model_names(self) -> list[str | None]:
        """What `--model` and `--base` are: a running server is used if it was started with the same."""
        return [os.path.abspath(name) if name and os.path.exists(name) else name for name in (self.model, self.base)]

    def find_server(self) -> ServerClient | None:
        """Return a server that is running on the store; `None` if there is none.

        Raises:
            StoreError: There is no store.
        """
        from rcc_integrations.memory.store import MemoryStore
        from rcc_integrations.server.client import ServerClient

        with MemoryStore.open(self.store, create=False, read_only=True) as opened:
            identity, path = opened.id, opened.path
        return ServerClient.find(identity, path, self.model_names)

    def open_store(self, *, write: bool = False) -> MemoryStore:
        """Open the store; never makes one.

        Args:
            write: Whether it is going to be changed.

        Raises:
            StoreError: There is none, or it cannot be opened.
        """
        from rcc_integrations.memory.store import MemoryStore

        return MemoryStore.open(self.store, create=False, read_only=not write)

    def open_reader(self, *, create: bool = False, write: bool = False) -> RCCReader:
        """Open the store with the model, which is loaded when it is first needed.

        Args:
            create: Create the store if it does not exist.
            write: Whether it is going to be changed.

        Raises:
            StoreError: There is none, or it cannot be opened.
        """
        from rcc_integrations.memory.store import MemoryStore
        from rcc_integrations.reader.reader import RCCReader

        if self.base is not None and self.model is not None:
            raise ConfigError("Give --model or --base, not both: a base is used without an adapter.")
        options: dict[str, Any] = {"device": self.device, "dtype": self.dtype}
        given = {name: value for name, value in options.items() if value is not None}
        if self.base is None:
            return RCCReader.open(self.store, model=self.model, create=create, read_only=not write, **given)
        base, store = self.base, MemoryStore.open(self.store, create=create, read_only=not write)

        def load() -> RCCModel:
            from rcc_integrations.model.rcc_model import RCCModel

            return RCCModel.from_base(base, **given)

        return RCCReader(store, load)

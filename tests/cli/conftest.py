from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from rcc_integrations.cli.app import app

TEXTS = {
    "ferry.md": "# Ferry\n\nThe ferry to Holm leaves at 7:45. A ticket for the ferry costs 12 euros.\n",
    "people/pilot.txt": "Ines Calder works as a harbour pilot. Ines Calder was born in Varde.\n",
    "library.txt": "The library opens at nine. Nobody borrows more than four books at once.\n",
}


@dataclass
class Rcc:
    """Runs `rcc` in this process."""

    store: Path
    model: Path

    def __call__(self, *arguments: object, stdin: str | bytes | None = None) -> Result:
        line = ["--store", str(self.store), "--model", str(self.model), "--device", "cpu", *map(str, arguments)]
        result = CliRunner().invoke(app, line, input=stdin, prog_name="rcc")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def json(self, *arguments: object, code: int = 0, stdin: str | bytes | None = None) -> Any:
        result = self(*arguments, "--json", stdin=stdin)
        assert result.exit_code == code, result.output
        # `loads` refuses anything beside the one document.
        return json.loads(result.stdout)


def write(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RCC_STORE", "RCC_MODEL", "FORCE_COLOR", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A folder with three documents."""
    return write(tmp_path / "docs", TEXTS)


@pytest.fixture
def rcc(tmp_path: Path, saved_model: Path) -> Rcc:
    """`rcc` on a store that does not exist yet."""
    return Rcc(tmp_path / "store", saved_model)


@pytest.fixture(scope="session")
def made_store(tmp_path_factory: pytest.TempPathFactory, saved_model: Path) -> Path:
    """A store whose collection `isle` holds the three documents; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    rcc = Rcc(folder / "store", saved_model)
    assert rcc("add", "isle", write(folder / "docs", TEXTS)).exit_code == 0
    return folder / "store"


@pytest.fixture
def filled(rcc: Rcc, made_store: Path) -> Rcc:
    """`rcc` on a copy of the store with the collection `isle`."""
    shutil.copytree(made_store, rcc.store)
    return rcc

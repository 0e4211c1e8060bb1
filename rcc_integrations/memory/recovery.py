"""Makes a store open again whose marker or index cannot be used."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from diskcache.core import DBNAME

from rcc_integrations.errors import CorruptBlobError, StoreAccessError, StoreError, StoreFormatError
from rcc_integrations.memory import backup, ledger
from rcc_integrations.memory.index import CHANGES, Index
from rcc_integrations.memory.index_file import fill_database, unexpanded
from rcc_integrations.memory.json_disk import Unreadable, check_density
from rcc_integrations.memory.json_value import JSON, loads
from rcc_integrations.memory.layout import MARKER, SEALED, VERSION, Layout, read_marker, write_marker
from rcc_integrations.memory.lost_found import LostAndFound
from rcc_integrations.memory.mending import LEAP
from rcc_integrations.memory.names import is_key
from rcc_integrations.memory.os_errors import access, write_error
from rcc_integrations.memory.records import CollectionRecord, DocumentRecord
from rcc_integrations.memory.report import Problem
from rcc_integrations.memory.shards import TEMP_PREFIX, sync_folder
from rcc_integrations.memory.sqlite_pages import Pages
from rcc_integrations.memory.texts import TextFolder

_ID = re.compile(r'"id"\s*:\s*"([0-9a-f]{32})"')
_NEWER = re.compile(r'"version"\s*:\s*(\d+)')
#: Files of a database.
_PARTS = (DBNAME, f"{DBNAME}-wal", f"{DBNAME}-shm", f"{DBNAME}-journal")


def recover(path: Path, *, dry_run: bool = False) -> list[Problem]:
    """See `MemoryStore.recover`."""
    path = Path(os.path.abspath(path))
    lost = LostAndFound(path, dry_run=dry_run)
    with access(path):
        problems = _recover_marker(path, lost)
        problems += _recover_index(path / "index", lost)
    return problems


def rebuild_index(folder: Path, lost: LostAndFound) -> list[Problem]:
    """Build an index anew from the rows of its pages that fit their seals and from its backup.

    Args:
        folder: The index folder; nobody in this process may have it open.
        lost: Where the damaged files go.

    Raises:
        StoreFormatError: Nothing of it can be saved; nothing was changed.
    """
    saved = _Saved(folder.parent)
    if os.path.lexists(folder / DBNAME):
        _check_plain(folder)
        saved.read(Pages(folder / DBNAME))
    saved.complete(backup.Backup(folder.parent).rows())
    if not saved.rows:
        raise StoreFormatError(
            f"Nothing of the index in {folder} can be read, and it has no backup: restore the folder 'index' from a "
            "copy, or start a new store elsewhere and add the documents again. Nothing was changed."
        )
    if not lost.dry_run:
        _replace(folder, saved.rows, lost)
    return saved.problems(folder, lost.dry_run)


@dataclass
class _Saved:
    """Rows that were saved.

    Args:
        store: The store's folder.
        rows: The rows by key.
        read: How many rows were read from the pages, by kind.
        kept: Keys of rows that the backup had to give.
        forgotten: Frames of the log that SQLite would have forgotten.
    """

    store: Path
    rows: dict[str, JSON] = field(default_factory=dict)
    count: Counter[str] = field(default_factory=Counter)
    kept: list[str] = field(default_factory=list)
    forgotten: int = 0

    def read(self, pages: Pages) -> None:
        """Take the rows of pages; of several with one key the newest, of those whose use is not certain if in doubt."""
        self.forgotten = pages.frames.forgotten
        unsure: list[tuple[str, JSON]] = []
        for key, text, sure in pages.rows():
            try:
                check_density(text)
                value = loads(text)
            except ValueError:
                continue
            if not sure:
                unsure.append((key, value))
            elif key not in self.rows or _age(value) >= _age(self.rows[key]):
                self.rows[key] = value
        for key, value in sorted(unsure, key=lambda row: _age(row[1])):
            if key not in self.rows and self._is_wanted(key, value):
                self.rows[key] = value
        homes = {key.split(":", 2)[1] for key in self.rows if key.startswith(ledger.DOCUMENT)}
        for key, value in unsure:
            # What nothing refers to any more was removed, as far as can be told.
            if key.startswith(ledger.COLLECTION) and key not in self.rows and key.split(":", 1)[1] in homes:
                self.rows[key] = value
        for key, value in unsure:
            if key.startswith(ledger.NAME) and f"{ledger.COLLECTION}{value}" in self.rows:
                self.rows.setdefault(key, value)
        self.count = Counter(key.partition(":")[0] for key in self.rows)

    def complete(self, kept: backup.Rows) -> None:
        """Take from the backup what is missing, unless it was removed since: a text that is gone was."""
        for key, value in kept.items():
            kind = key.partition(":")[0] + ":"
            if key in self.rows or kind not in (ledger.DOCUMENT, ledger.BLOB, ledger.TEXT):
                continue
            if self._is_wanted(key, value):
                self.rows[key] = value
                self.kept.append(key)
        homes = {key.split(":", 2)[1] for key in self.rows if key.startswith(ledger.DOCUMENT)}
        for key, value in kept.items():
            if not key.startswith(ledger.COLLECTION) or key in self.rows:
                continue
            if key.split(":", 1)[1] in homes or self._is_empty(value):
                self.rows[key] = value
                self.kept.append(key)
        uids = {key.split(":", 1)[1] for key in self.rows if key.startswith(ledger.COLLECTION)}
        named = {value for key, value in self.rows.items() if key.startswith(ledger.NAME)}
        for key, value in kept.items():
            if key.startswith(ledger.NAME) and key not in self.rows and value in uids and value not in named:
                self.rows[key] = value
                self.kept.append(key)
        before = self.rows.get(CHANGES)
        self.rows[CHANGES] = max(before if type(before) is int else 0, backup.changes(kept)) + LEAP
        if set(self.rows) == {CHANGES}:
            self.rows.clear()

    def problems(self, folder: Path, dry_run: bool) -> list[Problem]:
        """Return what was done, named."""
        done = "built anew" if not dry_run else "would be built anew"
        documents = sum(key.startswith(ledger.DOCUMENT) for key in self.rows)
        from_backup = [key.split(":", 2)[-1] for key in self.kept if key.startswith(ledger.DOCUMENT)]
        what = (
            f"The index is damaged. {len(self.rows)} of its rows fit their checksums, among them {documents} documents"
            f"{f'; from the backup come {from_backup}' if from_backup else ''}. The damaged files go to lost+found."
        )
        problems = [Problem("index", what, str(folder), not dry_run, done)]
        if self.forgotten:
            what = f"The index's log is damaged: {self.forgotten} of its pages behind the damage were read one by one."
            problems.append(Problem("log", what, str(folder / f"{DBNAME}-wal"), not dry_run, done))
        return problems

    def _is_wanted(self, key: str, value: JSON) -> bool:
        """Tell whether what a row stands for is there; removing it removes its file."""
        kind, _, rest = key.partition(":")
        match kind + ":":
            case ledger.DOCUMENT:
                try:
                    record = DocumentRecord.from_json(value)
                except StoreError:
                    return False
                return TextFolder(self.store / "texts").size(record.text_key) is not None
            case ledger.BLOB:
                return is_key(rest) and (self.store / "blobs" / rest[:2] / f"{rest}.safetensors").is_file()
            case ledger.TEXT:
                return is_key(rest) and TextFolder(self.store / "texts").size(rest) is not None
        return False

    @staticmethod
    def _is_empty(value: JSON) -> bool:
        try:
            return CollectionRecord.from_json(value).documents == 0
        except CorruptBlobError:
            return False


def _age(value: JSON) -> float:
    """Return what tells the later of two versions of a row."""
    if not isinstance(value, dict):
        return 0.0
    number = value.get("added", value.get("revision", value.get("put", 0)))
    return float(number) if isinstance(number, int | float) else 0.0


def _replace(folder: Path, rows: dict[str, JSON], lost: LostAndFound) -> None:
    """Put a new database in the place of a damaged one, which goes to lost+found."""
    temp = Path(unexpanded(folder)) / f"{TEMP_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        folder.mkdir(exist_ok=True)
        fill_database(temp, rows)
        # The log first: beside the new database it would be played into it.
        for name in reversed(_PARTS):
            lost.take(folder / name, "The index is damaged; it was built anew from what can be read.")
        os.replace(temp / DBNAME, folder / DBNAME)
        sync_folder(folder)
    except OSError as error:
        raise write_error(error, f"build the index in {folder} anew") from error
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _recover_index(folder: Path, lost: LostAndFound) -> list[Problem]:
    store = folder.parent
    layout = Layout(store, "", VERSION)
    if not os.path.lexists(folder / DBNAME):
        if layout.first_part() is None:
            return []
        return rebuild_index(folder, lost)
    _check_plain(folder)
    try:
        index = Index(folder, read_only=True, sealed=False)
    except StoreAccessError:
        raise
    except StoreFormatError as error:
        if _is_foreign(error):
            raise
        return [] if _unfinished(layout) else rebuild_index(folder, lost)
    try:
        with index.read() as rows:
            found = rows.check()
            list(rows.everything())
        forgotten = Pages(folder / DBNAME).frames.forgotten if (folder / f"{DBNAME}-wal").is_file() else 0
    except StoreAccessError:
        raise
    except StoreFormatError:
        found, forgotten = ["unreadable"], 0
    finally:
        index.close()
    # What concerns SQLite's index of the keys alone is put right by `verify`.
    serious = [text for text in found if "index Cache_key_raw" not in text and "index Cache_expire_time" not in text]
    return rebuild_index(folder, lost) if serious or forgotten else []


def _is_foreign(error: StoreFormatError) -> bool:
    """Tell what another program made from what is damaged: schemas and settings are compared with ours as text."""
    return "This package does not write that" in str(error) or "not followed" in str(error)


def _unfinished(layout: Layout) -> bool:
    return layout.first_part() is None and os.stat(layout.index / DBNAME).st_size <= 2 * 4096


def _check_plain(folder: Path) -> None:
    for path in (folder, *(folder / name for name in _PARTS)):
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            continue
        if not (stat.S_ISDIR(mode) if path == folder else stat.S_ISREG(mode)):
            raise StoreFormatError(f"{path} is a link or not a plain file or folder, and is not followed.")


def _recover_marker(path: Path, lost: LostAndFound) -> list[Problem]:
    """Make a marker anew that is damaged or gone, where the rest of the folder is a store's."""
    marker = path / MARKER
    try:
        read_marker(marker)
        return []
    except StoreFormatError as error:
        why = str(error)
    except StoreError:
        if os.path.lexists(marker):
            raise
        why = f"{marker} is gone."
    if not path.is_dir() or not os.listdir(path):
        raise StoreError(f"There is no memory store in {path}: check the path, or create one by adding to it.")
    if not (path / "index" / DBNAME).is_file() and not any((path / backup.FOLDER).glob(f"*/{DBNAME}")):
        raise StoreFormatError(f"{path} is no memory store: {why} There is no index in it either.")
    text = ""
    if os.path.lexists(marker) and stat.S_ISREG(os.lstat(marker).st_mode):
        with open(marker, "rb") as file:
            text = file.read(1 << 16).decode("utf-8", "replace")
    newer = _NEWER.search(text)
    if "format version" in why and newer and "does not fit" not in why and '"seal"' in text:
        # It is whole, and of a later format than this version reads.
        raise StoreFormatError(why)
    identity = _ID.search(text)
    if not lost.dry_run:
        lost.take(marker, why)
        write_marker(path, identity[1] if identity else secrets.token_hex(16), _version(path / "index"))
    kept = "its id was kept" if identity else "the store has a new id"
    return [Problem("marker", why, str(marker), not lost.dry_run, f"made anew; {kept}")]


def _version(folder: Path) -> int:
    """Return the format version that the rows of an index have."""
    try:
        index = Index(folder, read_only=True, sealed=True)
    except StoreError:
        return VERSION
    try:
        with index.read() as rows:
            reasons = [row.value.reason for row in rows.everything() if isinstance(row.value, Unreadable)]
    except StoreError:
        return VERSION
    finally:
        index.close()
    return SEALED - 1 if any("without a checksum" in reason for reason in reasons) else VERSION

"""Looks at an index before diskcache does, through a connection that cannot write, and refuses what is not ours."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Final

from diskcache.core import DBNAME

from rcc_integrations.errors import StoreFormatError
from rcc_integrations.memory.json_disk import KNOWN_SETTINGS, refuse

# Every object of a database that diskcache 5.6 makes without a tag index. A trigger or view of someone else's would
# run inside our transactions.
_SCHEMA: Final = frozenset(
    {
        "CREATE TABLE Settings ( key TEXT NOT NULL UNIQUE, value)",
        "CREATE TABLE Cache ( rowid INTEGER PRIMARY KEY, key BLOB, raw INTEGER, store_time REAL, expire_time REAL,"
        " access_time REAL, access_count INTEGER DEFAULT 0, tag BLOB, size INTEGER DEFAULT 0, mode INTEGER DEFAULT 0,"
        " filename TEXT, value BLOB)",
        "CREATE UNIQUE INDEX Cache_key_raw ON Cache(key, raw)",
        "CREATE INDEX Cache_expire_time ON Cache (expire_time)",
        "CREATE TRIGGER Settings_count_insert AFTER INSERT ON Cache FOR EACH ROW BEGIN UPDATE Settings SET value ="
        ' value + 1 WHERE key = "count"; END',
        "CREATE TRIGGER Settings_count_delete AFTER DELETE ON Cache FOR EACH ROW BEGIN UPDATE Settings SET value ="
        ' value - 1 WHERE key = "count"; END',
        "CREATE TRIGGER Settings_size_insert AFTER INSERT ON Cache FOR EACH ROW BEGIN UPDATE Settings SET value ="
        ' value + NEW.size WHERE key = "size"; END',
        "CREATE TRIGGER Settings_size_update AFTER UPDATE ON Cache FOR EACH ROW BEGIN UPDATE Settings SET value ="
        ' value + NEW.size - OLD.size WHERE key = "size"; END',
        "CREATE TRIGGER Settings_size_delete AFTER DELETE ON Cache FOR EACH ROW BEGIN UPDATE Settings SET value ="
        ' value - OLD.size WHERE key = "size"; END',
    }
)
_FILES: Final = {DBNAME, f"{DBNAME}-wal", f"{DBNAME}-shm", f"{DBNAME}-journal"}


def check_folder(folder: Path) -> bool:
    """Tell whether there is a database in the index folder; refuse links and special files in its place.

    Raises:
        StoreFormatError: The folder, or a file of the database, is a link or no plain folder or file.
    """
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise StoreFormatError(f"{folder} is a link or not a folder, and is not followed: it is no index of ours.")
    except FileNotFoundError:
        return False
    for name in _FILES:
        path = folder / name
        try:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise StoreFormatError(f"{path} is a link or not a plain file, and is not opened.")
        except FileNotFoundError:
            continue
    return bool((folder / DBNAME).exists())


def check_schema(connection: sqlite3.Connection) -> set[str]:
    """Return the names of what is in a database.

    Args:
        connection: One that cannot write.

    Raises:
        StoreFormatError: Something is there that is not ours. A database that is only half made passes.
    """
    tables: set[str] = set()
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        if kind == "index" and name == "sqlite_autoindex_Settings_1" and sql is None:
            continue
        if type(sql) is not str or " ".join(sql.split()) not in _SCHEMA:
            refuse(f"a {kind} that is not ours", name)
        tables.add(name)
    if "Settings" in tables:
        for key, value in connection.execute("SELECT key, value FROM Settings"):
            if key not in KNOWN_SETTINGS or type(value) not in (int, str):
                refuse("a setting that is not ours", (key, value))
            # The pragmas run with these values before ours replace them: whole numbers and the word `wal` do no harm.
            if type(value) is str and (key, value) not in {
                ("sqlite_journal_mode", "wal"),
                ("eviction_policy", "none"),
            }:
                refuse("a setting that is not ours", (key, value))
    return tables

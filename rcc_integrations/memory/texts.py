"""The documents' texts, named by their own hash and so stored once each."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rcc_integrations.errors import ConfigError, CorruptBlobError
from rcc_integrations.memory.json_value import check_text
from rcc_integrations.memory.shards import ShardFolder

#: The most bytes of one text.
MAX_TEXT = 1 << 28


class TextFolder(ShardFolder):
    """The texts of a store, as UTF-8 files.

    Args:
        root: The folder of the texts.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root, ".txt")

    def load(self, key: str) -> str:
        """Return a text after verifying it against its key.

        Raises:
            FileNotFoundError: There is no such file.
            CorruptBlobError: The file is not what was written.
            StoreAccessError: The file cannot be read.
        """
        data = self.read(key, MAX_TEXT)
        if key_of(data) != key:
            raise CorruptBlobError(
                f"Text {key[:12]}… ({self.path(key)}) does not match its name: it was changed or damaged. `rcc "
                "verify` names the documents that have it: add them again."
            )
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CorruptBlobError(f"Text {key[:12]}… ({self.path(key)}) is not UTF-8: {error}.") from None


def encode_text(text: str) -> bytes:
    """Return a text's UTF-8 bytes.

    Raises:
        ConfigError: The text holds a lone surrogate, or is longer than `MAX_TEXT`.
    """
    data = check_text(text, "The document's text").encode("utf-8")
    if len(data) > MAX_TEXT:
        raise ConfigError(f"The document's text has {len(data):,} bytes, more than {MAX_TEXT:,}: cut it into several.")
    return data


def key_of(data: bytes) -> str:
    """Return the BLAKE2b-256 of bytes, hexadecimal."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()

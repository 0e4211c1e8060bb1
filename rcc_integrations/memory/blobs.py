"""Memory tensors as safetensors files, named by the key of their window.

torch is imported when tensors are at stake: a store is opened, listed and changed without.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from rcc_integrations.errors import CorruptBlobError
from rcc_integrations.memory.os_errors import access_error
from rcc_integrations.memory.shards import ShardFolder

if TYPE_CHECKING:
    from torch import Tensor

#: The most bytes of one blob. A file can claim to be larger than the disk that it lies on, and checking it takes time.
MAX_BLOB = 1 << 33


class BlobFolder(ShardFolder):
    """The blobs of a store.

    Args:
        root: The folder of the blobs.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root, ".safetensors")

    def load(self, key: str, *, size: int, checksum: str) -> dict[str, Tensor]:
        """Return a blob's tensors in their stored form.

        The file is mapped, not read: pages come from the system's cache and are shared between processes. The map is
        private, so that writing into a tensor changes neither the file nor what others see.

        Args:
            key: The blob's key.
            size: Bytes that the index tells.
            checksum: Checksum that the index tells, see `checksum_of`.

        Raises:
            FileNotFoundError: There is no such file.
            CorruptBlobError: The file is not what was written; the message tells how it differs.
            StoreAccessError: The file cannot be opened or mapped.
        """
        from rcc_integrations.memory.tensor_file import parse

        where = f"Memory blob {key[:12]}… ({self.path(key)})"
        descriptor = self.open(key)
        try:
            actual = os.fstat(descriptor).st_size
            if actual != size or not 0 < actual <= MAX_BLOB:
                most = "" if actual <= MAX_BLOB else f" and at most {MAX_BLOB:,}"
                raise CorruptBlobError(f"{where} has {actual:,} bytes instead of {size:,}{most}. {_ADVICE}")
            data = mmap.mmap(descriptor, actual, access=mmap.ACCESS_COPY)
        except OSError as error:
            raise access_error(error, self.path(key)) from error
        finally:
            os.close(descriptor)
        if checksum_of(data) != checksum:
            raise CorruptBlobError(f"{where} does not pass its checksum: it was changed or damaged. {_ADVICE}")
        return parse(data, where)


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the safetensors file of stored tensors."""
    from safetensors.torch import save

    data: bytes = save(dict(tensors), metadata={"format": "rcc-memory"})
    return data


def checksum_of(data: bytes | mmap.mmap) -> str:
    """Return the XXH3-128 of a whole file, hexadecimal: it finds damage, it is no defence against a forger."""
    return xxhash.xxh3_128_hexdigest(data)


_ADVICE = "Run `rcc verify --repair`, then add the documents that it names again."

"""`ServerSettings`: where a server listens, whom it serves, and how much it takes."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from rcc_integrations.errors import ConfigError

#: Where `rcc serve` listens unless told otherwise.
DEFAULT_PORT = 8765


@dataclass(frozen=True)
class ServerSettings:
    """How a server behaves.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 for any that is free.
        api_key: What clients must send as `Authorization: Bearer KEY`; needed where the address is not loopback.
        allowed_hosts: Further names by which the server may be called (the `Host` header).
        origins: Origins of web pages elsewhere that may call it (CORS), such as `http://localhost:3000`; `*` for all.
        grounded: Whether answers through OpenAI's interfaces are grounded unless a request says otherwise.
        max_waiting: The most questions under way and waiting; one more is refused with status 429.
        max_file_bytes: Largest file that may be uploaded.
        max_files: The most files in one upload.
        max_body_bytes: Largest body of a request, all files of an upload together.
        max_held_bytes: The most bytes of uploads that wait to be compressed, or for a vector store.
        sweep_seconds: How often expired collections are removed from disk.

    Raises:
        ConfigError: A value cannot work, or there is no key though the address is not loopback.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    api_key: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    grounded: bool = False
    max_waiting: int = 256
    max_file_bytes: int = 64 * 2**20
    max_files: int = 1000
    max_body_bytes: int = 256 * 2**20
    max_held_bytes: int = 512 * 2**20
    sweep_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"The port must be a number from 0 to 65535; it is {self.port!r}.")
        for name in ("max_waiting", "max_file_bytes", "max_files", "max_body_bytes", "max_held_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1; it is {getattr(self, name)!r}.")
        if self.api_key is not None and (not self.api_key.isascii() or not self.api_key.strip()):
            raise ConfigError("The API key must be visible ASCII characters: it is sent in a header.")
        if not self.is_loopback and self.api_key is None:
            raise ConfigError(
                f"{self.host} can be reached from other machines, so an API key is needed: give --api-key (or the "
                "environment variable RCC_API_KEY), or listen on 127.0.0.1."
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

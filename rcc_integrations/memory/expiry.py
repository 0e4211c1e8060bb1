"""When a collection is gone by itself."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass

from rcc_integrations.errors import ConfigError, CorruptBlobError
from rcc_integrations.memory.json_value import JSON

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_TTL = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*")
_LONGEST = 100 * 366 * 86400.0
#: A collection that is renewed by use is renewed when this share of its time has gone by, and not at every use.
_DUE = 0.05


@dataclass(frozen=True, slots=True)
class Expiry:
    """The time that a collection has left.

    Args:
        at: When it is gone, seconds since 1970.
        ttl: Its time to live in seconds, counted from when it was set or last used.
        renew: Whether use begins that time anew.
    """

    at: float
    ttl: float
    renew: bool = False

    @classmethod
    def after(cls, ttl: float, *, renew: bool = False) -> Expiry:
        """Return the expiry of a collection that lives for some seconds from now.

        Raises:
            ConfigError: It is no time.
        """
        if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not 0 < ttl <= _LONGEST:
            raise ConfigError(f"A time to live is a number of seconds above 0 and at most 100 years, not {ttl!r}.")
        return cls(time.time() + ttl, float(ttl), renew)

    @property
    def is_over(self) -> bool:
        """Whether the collection is gone."""
        return time.time() >= self.at

    @property
    def is_due(self) -> bool:
        """Whether a use now is to renew it."""
        return self.renew and not self.is_over and time.time() - (self.at - self.ttl) >= self.ttl * _DUE

    def renewed(self) -> Expiry:
        """Return it begun anew."""
        return Expiry.after(self.ttl, renew=self.renew)

    def to_json(self) -> dict[str, JSON]:
        """Return it as JSON."""
        return {"at": self.at, "ttl": self.ttl, "renew": self.renew}

    @classmethod
    def from_json(cls, value: JSON) -> Expiry:
        """Read the output of `to_json`.

        Raises:
            CorruptBlobError: It is something else.
        """
        if type(value) is dict and set(value) == {"at", "ttl", "renew"} and type(value["renew"]) is bool:
            at, ttl = value["at"], value["ttl"]
            numbers = isinstance(at, float | int) and isinstance(ttl, float | int)
            if numbers and math.isfinite(at) and 0 < ttl <= _LONGEST:  # type: ignore[arg-type, operator]
                return cls(float(at), float(ttl), value["renew"])  # type: ignore[arg-type]
        raise CorruptBlobError(f"A collection's expiry is damaged: {value!r:.100}.")


def parse_ttl(text: str) -> float:
    """Return the seconds of a time such as `90s`, `30m`, `12h`, `7d` or `2w`.

    Raises:
        ConfigError: It is no such time.
    """
    found = _TTL.fullmatch(text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= _LONGEST:
        raise ConfigError(f"{text!r} is no time to live: give a number and s, m, h, d or w, such as 12h or 7d.")
    return seconds

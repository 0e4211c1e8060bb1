"""From bytes to text: byte order mark, then UTF-8, then what the file declares, then charset-normalizer."""

from __future__ import annotations

import codecs
import re

from rcc_integrations.errors import MissingExtraError, UnreadableFileError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What text files are really written in: the legacy encodings of the web's standard. Free choice among all of
# Python's codecs makes short texts come out as EBCDIC or DOS code pages.
_LEGACY = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874"),
    *("iso8859_2", "iso8859_5", "iso8859_7", "iso8859_13", "koi8_r", "koi8_u", "mac_roman"),
    *("cp932", "euc_jp", "iso2022_jp", "gb18030", "big5", "cp949"),
)
_MAX_CONTROL_SHARE = 0.02
_CONTROLS = bytes(set(range(32)) - set(b"\b\t\n\f\r\x1b")) + b"\x7f"
_SYMBOL_IN_WORD = re.compile(r"[^\W\d_][¡¢£¤¥¦§¨©ª«¬®¯°±²³´¶¸¹º»¼½¾¿×÷][^\W\d_]")
_NEAR = 0.08


def looks_binary(data: bytes) -> str:
    """Return why these bytes cannot be text, or an empty string where they can.

    Args:
        data: A whole file or its first bytes.
    """
    if data.startswith(tuple(mark for mark, _ in _MARKS)):
        return ""
    if b"\0" in data:
        return "it holds NUL bytes: binary data, or UTF-16 without a byte order mark"
    controls = len(data) - len(data.translate(None, _CONTROLS))
    if controls > _MAX_CONTROL_SHARE * len(data):
        return f"{controls} of {len(data)} bytes are control characters: binary data"
    return ""


def decode(data: bytes, name: str, declared: str | None = None) -> tuple[str, str]:
    """Decode a file's bytes as text.

    Args:
        data: The raw bytes.
        name: The file's name, for messages.
        declared: Encoding that the file says of itself (HTML's ``meta charset``); used where UTF-8 does not fit.

    Returns:
        The text, without a byte order mark, and the encoding's name ("utf-8" also for plain ASCII).

    Raises:
        UnreadableFileError: If the bytes are binary or fit no known encoding.
        MissingExtraError: If they are not UTF-8 and charset-normalizer is not installed.
    """
    if reason := looks_binary(data):
        raise UnreadableFileError(f"{name} is not text: {reason}.")
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decode_marked(data, name, encoding), encoding.removesuffix("-sig")
    # ISO-2022 is the one family whose bytes are all valid ASCII, so that UTF-8 would take it wrongly.
    stateful = b"\x1b" in data and (declared or "").lower().startswith("iso-2022")
    for candidate in (declared, "utf-8") if stateful else ("utf-8", declared):
        if candidate is not None and (text := _try(data, candidate)) is not None:
            return text, candidate.lower()
    return _guess(data, name)


def _decode_marked(data: bytes, name: str, encoding: str) -> str:
    text = _try(data, encoding)
    if text is None or "\0" in text:
        raise UnreadableFileError(
            f"{name} is not text: it begins with the byte order mark of {encoding.removesuffix('-sig')}, but its bytes "
            "are not valid text in it. Save it again as UTF-8."
        )
    return text


def _try(data: bytes, encoding: str) -> str | None:
    try:
        # Python's codecs include some that make bytes of bytes, or run no decoder at all; those are no text encodings.
        if not getattr(codecs.lookup(encoding), "_is_text_encoding", True):
            return None
        return data.decode(encoding)
    except (LookupError, ValueError):
        return None


def _guess(data: bytes, name: str) -> tuple[str, str]:
    try:
        from charset_normalizer import from_bytes
    except ImportError as error:
        raise MissingExtraError("charset-normalizer", "files", f"Reading {name}, which is not UTF-8,") from error
    matches = list(from_bytes(data, cp_isolation=list(_LEGACY)))
    if not matches:
        raise UnreadableFileError(
            f"{name} is not text in any known encoding ({len(data)} bytes, not UTF-8). Save it again as UTF-8."
        )
    # A currency sign or a superscript between two letters is a letter of another code page.
    best = next((match for match in matches if not _SYMBOL_IN_WORD.search(str(match))), matches[0])
    western = _try(data, "cp1252")
    if western is not None and not _SYMBOL_IN_WORD.search(western):
        # Short Western texts fit several Latin code pages about as well; cp1252 is by far the most common of them.
        for match in matches:
            if str(match) == western and match.chaos <= best.chaos and match.coherence >= best.coherence - _NEAR:
                return western, "cp1252"
    return str(best), best.encoding

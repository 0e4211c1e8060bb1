"""Documents from strangers that want more time or memory than they are worth.

`python -m tests.hostile.documents --count 500` reads so many under the limits that docs/security.md states, and prints
what became of them, the longest time and the most memory.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil

from rcc_integrations.errors import EmptyDocumentError, UnreadableFileError
from rcc_integrations.files import parsing
from tests.files.makers import make_docx, make_pdf


def nested(tag: bytes, depth: int) -> bytes:
    return (b"<%s>" % tag) * depth + b"x" + (b"</%s>" % tag) * depth


def html(chance: random.Random, size: int) -> bytes:
    pieces: list[Callable[[], bytes]] = [
        lambda: b"<a " * (size // 3),
        lambda: nested(b"table><tr><td", size // 34),
        lambda: nested(b"div", size // 11),
        lambda: nested(b"ul><li", size // 18),
        lambda: b"<!--" * (size // 4),
        lambda: b"<![CDATA[" * (size // 9),
        lambda: b"&" * size,
        lambda: b"&#x" * (size // 3),
        lambda: b"<p style='" + b"display:none;" * (size // 13) + b"'>x</p>",
        lambda: b"<a " + b"b=" * (size // 2) + b">x</a>",
        lambda: b"<td>" * (size // 4) + b"x",
        lambda: b"<" * size,
        lambda: b"<pre>" + b"\n" * size + b"x</pre>",
        lambda: b"<svg>" * (size // 5) + b"x",
        lambda: b"<?xml " * (size // 6),
        lambda: b"<b><i>" * (size // 6) + b"x",
    ]
    return b"<html><body>" + chance.choice(pieces)() + b"</body></html>"


def package(chance: random.Random, size: int) -> bytes:
    """Return a Word document whose main part says little and holds much, or lies about its length."""
    text = chance.choice(
        [
            b"<w:p><w:r><w:t>a</w:t></w:r></w:p>" * (size // 34),
            b"<w:p><w:r><w:t>" + b"a" * size + b"</w:t></w:r></w:p>",
            b"<w:tbl><w:tr><w:tc>" * (size // 40) + b"<w:p/>" + b"</w:tc></w:tr></w:tbl>" * (size // 40),
            b"<w:sdt><w:sdtContent>" * (size // 45) + b"<w:p/>" + b"</w:sdtContent></w:sdt>" * (size // 45),
            b"<w:p>" * (size // 12) + b"</w:p>" * (size // 12),
            b"<w:p " + b"w:a='1' " * (size // 9) + b"/>",
        ]
    )
    document = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(make_docx("x"))) as good,
        zipfile.ZipFile(document, "w", zipfile.ZIP_DEFLATED) as bad,
    ):
        for entry in good.infolist():
            data = good.read(entry)
            if entry.filename == "word/document.xml":
                data = data.replace(b"</w:body>", text + b"</w:body>")
            bad.writestr(entry.filename, data)
        if chance.random() < 0.3:
            bad.writestr("word/media/image.png", bytes(size))
    packed = bytearray(document.getvalue())
    if chance.random() < 0.3:
        at = 0
        while (at := packed.find(b"PK\x01\x02", at)) >= 0:
            packed[at + 24 : at + 28] = chance.choice((0, 100, 2**31)).to_bytes(4, "little")
            at += 4
    return bytes(packed)


def pdf(chance: random.Random, size: int) -> bytes:
    """Return a PDF with a page whose content is a bomb or a maze."""
    content = chance.choice(
        [
            b"BT (x) Tj ET\n" * (size // 13),
            b"q " * size,
            b"[" * size,
            b"(" * size,
            b"<<" * (size // 2),
            b"BT /F1 12 Tf " + b"(a) Tj " * (size // 7) + b"ET",
            bytes(size),
        ]
    )
    packed = zlib.compress(content, 9)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R" + b" 3 0 R" * chance.choice((0, 50, 2000)) + b"]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>/MediaBox[0 0 9 9]>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(packed), packed),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out = b"%PDF-1.4\n"
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, table)


def changed(chance: random.Random, size: int) -> tuple[str, bytes]:
    """Return a sound document with random damage."""
    kind, data = chance.choice(
        [
            ("pdf", make_pdf(["The ferry leaves at 7:45."] * 20)),
            ("docx", make_docx(*["A ticket costs 12 euros."] * 20)),
            ("html", b"<table><tr><td>a</td></tr></table>" * 50),
        ]
    )
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 20, 400))):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return kind, bytes(damaged)


def document(number: int, most: int) -> tuple[str, bytes]:
    """Return one document, the same every time."""
    chance = random.Random(f"documents:{number}")
    size = min(most, chance.choice((10_000, 100_000, 300_000, 2_000_000, 30_000_000)))
    kind = chance.choice(("html", "docx", "pdf", "changed"))
    if kind == "changed":
        return changed(chance, size)
    makers = {"html": html, "docx": package, "pdf": pdf}
    # HTML lies on the disk as it is; the others unpack to what they say.
    return kind, makers[kind](chance, min(size, 3_000_000) if kind == "html" else size)


def run(count: int, parser: parsing.Parser, most: int = 30_000_000) -> dict[str, Any]:
    """Read so many documents; return what became of them."""
    counts: Counter[str] = Counter()
    faults = []
    longest = largest = over = 0.0
    for number in range(count):
        kind, data = document(number, most)
        started = time.monotonic()
        try:
            parser.parse(kind, data, f"document {number}")
            ended = "read"
        except (UnreadableFileError, EmptyDocumentError) as error:
            what = str(error)
            ended = "too long" if "seconds" in what else "too large" if "MiB" in what else "refused"
        except Exception as error:
            ended = "fault"
            faults.append(f"{number} ({kind}, {len(data)} bytes): {type(error).__name__}: {error}")
        seconds = time.monotonic() - started
        longest, over = max(longest, seconds), max(over, seconds - parser._seconds(len(data)))
        counts[f"{kind}: {ended}"] += 1
        if parser._process is not None:
            try:
                largest = max(largest, psutil.Process(parser._process.pid).memory_info().rss)
            except psutil.Error:
                continue
    if over > 5:
        faults.append(f"a document took {over:.1f} s more than it may")
    return {
        "count": count,
        "counts": dict(sorted(counts.items())),
        "longest_seconds": round(longest, 1),
        "most_memory_mib": round(largest / 2**20),
        "own_memory_mib": round(psutil.Process().memory_info().rss / 2**20),
        "faults": faults,
    }


def main() -> None:
    """Read as many as the command line says, under the limits that are in force."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    chosen = parser.parse_args()
    reader = parsing.Parser()
    result = run(chosen.count, reader)
    reader.close()
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    raise SystemExit(bool(result["faults"]))


if __name__ == "__main__":
    main()

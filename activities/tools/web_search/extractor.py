"""The program of the processes that make text of pages.

It reads one page after the other from standard input, and writes each text to standard output. Both are frames of a
length (4 bytes, big-endian) and JSON; the page's bytes follow in a frame of their own. The kernel bounds its memory,
and its CPU time for each page: HTML is parsed in C, and a page that is made for it takes minutes and gigabytes. A
process that exceeds a bound dies, which the parent reports. It ends by itself when it has had no page for a minute.

The module imports nothing of the application, and the libraries for the first page.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import math
import re
import resource
import select
import signal
import struct
import sys
from typing import Any, BinaryIO

LENGTH = struct.Struct(">I")
MEMORY_BYTES = 1024 * 1024 * 1024
"""The address space. With the libraries, a process uses 250 MB of it; a page of 5 MB takes up to 400 MB more."""
CPU_SECONDS = 10
"""The CPU time of one page: a page of a megabyte takes about one second."""
NO_MEMORY = 3
"""The exit status after a MemoryError."""
MAX_CHARACTERS = 1_000_000
"""Of the text of a page: what is behind it is left out, and the model reads that."""

_IDLE_SECONDS = 60.0
# Characters of HTML. To find an article takes 0.2 s for 100,000 characters, and more than linear time. `fast` leaves
# out the comparison of several methods.
_COMPARED = 200_000
_SEARCHED = 1_000_000
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset=[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# Their bytes are ASCII, so they would pass as UTF-8.
_SEVEN_BIT = ("iso-2022", "iso2022", "hz")
_WIDE = ("utf-16", "utf16", "utf-32", "utf32")


def decoded(body: bytes, declared: str | None) -> str:
    """The text of a page. What a server or a page says of its encoding counts only where the bytes agree."""
    for mark, name in _BOMS:
        if body.startswith(mark):
            return body.decode(name, errors="replace")
    meta = _META_CHARSET.search(body[:4096])
    said = [name.lower() for name in (declared, meta[1].decode("ascii", "replace") if meta else None) if name]
    # Any bytes are UTF-16, so the name alone is no reason to read them so.
    sure = (*_SEVEN_BIT, *_WIDE) if b"\0" in body[:1024] else _SEVEN_BIT
    for name in (*(one for one in said if one.startswith(sure)), "utf-8", *said):
        with contextlib.suppress(LookupError, UnicodeError):
            return body.decode(name)
    import charset_normalizer

    best = charset_normalizer.from_bytes(body[:200_000]).best()
    return body.decode(best.encoding if best is not None else "utf-8", errors="replace")


def text_of(body: bytes, charset: str | None, url: str, kind: str) -> dict[str, Any]:
    """The title, the date and the text of a page; Markdown for HTML. Each is empty if there is none.

    The member `problem` alone says why a PDF has no text.
    """
    if kind == "pdf":
        return _pdf(body)
    text = decoded(body, charset)
    if kind != "html":
        return {"title": "", "date": "", "text": _bounded(text), "is_cut": len(text) > MAX_CHARACTERS}
    found = _article(text, url) if len(text) <= _SEARCHED else None
    return found or _all_text(text)


def _article(text: str, url: str) -> dict[str, Any] | None:
    from trafilatura import bare_extraction

    # The pages that break it break it in many ways.
    with contextlib.suppress(Exception):
        document: Any = bare_extraction(
            text,
            url=url,
            fast=len(text) > _COMPARED,
            include_comments=False,
            include_links=True,
            include_formatting=True,
            with_metadata=True,
            date_extraction_params={"extensive_search": False, "original_date": True},
        )
        if document is not None and (document.text or "").strip():
            return {
                "title": document.title or "",
                "date": document.date or "",
                "text": _bounded(document.text),
                "is_cut": len(document.text) > MAX_CHARACTERS,
            }
    return None


def _pdf(body: bytes) -> dict[str, Any]:
    import pypdf
    from pypdf.errors import DependencyError, PyPdfError

    broken = (PyPdfError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OSError)
    try:
        reader = pypdf.PdfReader(io.BytesIO(body))
        if reader.is_encrypted and not reader.decrypt(""):
            return {"problem": "the PDF is encrypted"}
        pages, length = [], 0
        for page in reader.pages:
            pages.append(page.extract_text())
            length += len(pages[-1])
            if length > MAX_CHARACTERS:
                break
        title = reader.metadata.title if reader.metadata is not None else None
    except DependencyError:
        return {"problem": "the PDF is encrypted"}
    except broken as error:
        return {"problem": f"the PDF is broken ({type(error).__name__})"}
    text = "\n\n".join(pages)
    if not text.strip():
        return {"problem": "the PDF has no text, perhaps only pictures of pages"}
    return {"title": title or "", "date": "", "text": _bounded(text), "is_cut": len(text) > MAX_CHARACTERS}


def _all_text(text: str) -> dict[str, Any]:
    """For a page without an article, such as a list, and for a large one."""
    from lxml import html

    with contextlib.suppress(Exception):
        tree = html.fromstring(text.encode("utf-8", "replace"), parser=html.HTMLParser(encoding="utf-8"))
        for element in tree.xpath("//script|//style|//noscript|//template|//svg"):
            element.drop_tree()
        title = " ".join(tree.xpath("//title//text()")[:1]).strip()
        lines = (" ".join(line.split()) for line in tree.text_content().splitlines())
        whole = "\n".join(line for line in lines if line)
        return {"title": title, "date": "", "text": _bounded(whole), "is_cut": len(whole) > MAX_CHARACTERS}
    return {"title": "", "date": "", "text": "", "is_cut": False}


def _bounded(text: str) -> str:
    # JSON has no lone surrogates.
    return text[:MAX_CHARACTERS].encode("utf-8", "replace").decode()


def _allow_cpu(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime) + seconds, hard))


def _frame(source: BinaryIO) -> bytes | None:
    """The next frame; None at the end. The stream has no buffer: a buffered frame would not wake `select`."""
    head = _exactly(source, LENGTH.size)
    return None if head is None else _exactly(source, LENGTH.unpack(head)[0])


def _exactly(source: BinaryIO, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = source.read(size)
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def main() -> None:
    """Set the limits, and answer until standard input ends, or nothing has come for a minute."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, ValueError):
        # macOS has no such limit.
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, sink = open(0, "rb", buffering=0, closefd=False), sys.stdout.buffer  # noqa: SIM115
    while select.select([source], [], [], _IDLE_SECONDS)[0]:
        given, body = _frame(source), None
        if given is not None:
            body = _frame(source)
        if given is None or body is None:
            return
        _allow_cpu(CPU_SECONDS)
        asked = json.loads(given)
        answer = json.dumps(text_of(body, asked["charset"], asked["url"], asked["kind"])).encode()
        sink.write(LENGTH.pack(len(answer)) + answer)
        sink.flush()


if __name__ == "__main__":
    try:
        main()
    except MemoryError:
        sys.exit(NO_MEMORY)

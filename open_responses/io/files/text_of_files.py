"""The text of a PDF, a DOCX, an HTML page, or anything that is text. For the process that reads files.

The bytes give the type, because a name may be wrong. The libraries are imported for the type that needs them.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PDF_WITHIN = 1024
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# UTF-16, as the container of old Office files has names.
_ENCRYPTED_OFFICE = "EncryptedPackage".encode("utf-16-le")
_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE | re.DOTALL
)
_HTML_NAMES = (".html", ".htm", ".xhtml")
_UNREAD = ("script", "style", "template", "noscript", "head")
# fmt: off
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "figcaption", "footer", "form", "h1",
    "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "td", "th",
    "tr", "ul",
})
# fmt: on
_UNSUPPORTED, _INVALID = "unsupported_file", "invalid_file"


class Unreadable(Exception):
    """A file that cannot be read. `reason` is OpenAI's code; the message is for the client."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def text_of_file(path: Path, name: str) -> Iterator[str]:
    """The text, page by page of a PDF. Raises Unreadable."""
    with path.open("rb") as opened:
        head = opened.read(64 * 1024)
    if b"%PDF-" in head[:_PDF_WITHIN]:
        yield from _pdf(path)
    elif head.startswith(b"PK\x03\x04"):
        yield from _docx(path)
    elif head.startswith(_OLE):
        if _ENCRYPTED_OFFICE in path.read_bytes():
            raise Unreadable(_INVALID, "The file is encrypted. Upload it without a password.")
        raise Unreadable(_UNSUPPORTED, "Old Office files are not read. Save the document as DOCX or PDF.")
    else:
        text = _plain(path.read_bytes())
        is_html = name.lower().endswith(_HTML_NAMES) or _HTML.match(head) is not None
        yield _html(text) if is_html and text.strip() else text


def _pdf(path: Path) -> Iterator[str]:
    import pypdf
    from pypdf.errors import DependencyError, PyPdfError

    try:
        reader = pypdf.PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable(_INVALID, "The PDF is encrypted. Upload it without a password.")
        for page in reader.pages:
            # A form feed is what a page's end is in a text.
            yield page.extract_text() + "\n\n"
    except DependencyError as error:
        raise Unreadable(_INVALID, "The PDF is encrypted in a way that is not read.") from error
    except (PyPdfError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OSError) as error:
        raise Unreadable(_INVALID, f"The PDF is broken: {_first_line(error)}") from error


def _docx(path: Path) -> Iterator[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise Unreadable(_INVALID, f"The file is broken: {_first_line(error)}") from error
    if "word/document.xml" not in names:
        raise Unreadable(_UNSUPPORTED, "Of archives and Office files, DOCX alone is read. Save it as DOCX or PDF.")
    import docx
    from docx.opc.exceptions import OpcError
    from docx.table import Table
    from lxml.etree import LxmlError

    try:
        for block in docx.Document(str(path)).iter_inner_content():
            if isinstance(block, Table):
                yield from (" | ".join(cell.text for cell in row.cells) + "\n" for row in block.rows)
                yield "\n"
            elif block.text.strip():
                yield block.text + "\n\n"
    except (OpcError, LxmlError, zipfile.BadZipFile, ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise Unreadable(_INVALID, f"The DOCX is broken: {_first_line(error)}") from error


def _html(text: str) -> str:
    from lxml import etree
    from lxml import html as lxml_html

    # lxml refuses a declaration of an encoding in a text that is decoded already.
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text)
    try:
        root = lxml_html.document_fromstring(text)
    except (etree.LxmlError, ValueError, AssertionError) as error:
        raise Unreadable(_INVALID, f"The page is broken: {_first_line(error)}") from error
    title = root.findtext(".//title") or ""
    etree.strip_elements(root, *_UNREAD, etree.Comment, etree.ProcessingInstruction, with_tail=False)
    pieces = [title, "\n\n"] if title.strip() else []
    pieces += _pieces(root)
    lines = (re.sub(r"[ \t\r\f\v\xa0]+", " ", line).strip() for line in "".join(pieces).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def _pieces(root: Any) -> Iterator[str]:
    """Text in the order of the page, with a line's end around each block. Without recursion: pages may be deep."""
    from lxml import etree

    for event, element in etree.iterwalk(root, events=("start", "end")):
        if not isinstance(element.tag, str):
            continue
        if event == "start":
            if element.tag in _BLOCKS:
                yield "\n"
            yield _collapsed(element.text)
        else:
            if element.tag in _BLOCKS:
                yield "\n"
            yield _collapsed(element.tail)


def _collapsed(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "")


def _plain(data: bytes) -> str:
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8-sig")):
        if data.startswith(mark):
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError:
                break
            if "\0" not in text:
                return text
            break
    raise Unreadable(_UNSUPPORTED, "The file is of a type that is not read. PDF, DOCX, HTML, and text in UTF-8 are.")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]

"""Files become text and chunks, in a process that a bad file cannot harm more than itself."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from open_responses.config_tables.vector_stores import VectorStoresConfig
from open_responses.io.files.chunking import chunks_of, estimated_tokens
from open_responses.io.files.reading import FileUnreadable, read_chunks
from tests.support.documents import docx_of, docx_with, encrypted_pdf, packed_pdf, pdf_of, zip_of

LIMITS = VectorStoresConfig(max_text_bytes=1_000_000, parse_seconds=2, parse_memory_bytes=512 * 1024 * 1024)
PAGE = (
    "<!DOCTYPE html><html><head><title>Opening hours</title><script>hidden()</script></head>"
    "<body><h1>Hours</h1><p>Open <b>every</b> day</p><ul><li>from nine</li></ul></body></html>"
)


async def text_of(folder: Path, data: bytes, name: str = "a") -> str:
    path = folder / "file"
    path.write_bytes(data)
    chunks = await read_chunks(path, name, 400, 100, LIMITS)
    return "".join(chunk.text[chunk.overlap :] for chunk in chunks)


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (pdf_of("The first page.", "The second page."), "a.txt", ["The first page.", "The second page."]),
        (docx_of("Dear Sir,", "we are closed."), "a.docx", ["Dear Sir,", "we are closed."]),
        (PAGE.encode(), "a", ["Opening hours", "Open every day", "from nine"]),
        ("Grüße aus Köln".encode(), "a.md", ["Grüße aus Köln"]),
        ("Grüße".encode("utf-16"), "a.txt", ["Grüße"]),
    ],
)
async def test_the_text_of_each_type_is_found_by_its_bytes(
    tmp_path: Path, data: bytes, name: str, expected: list[str]
) -> None:
    text = await text_of(tmp_path, data, name)
    for one in expected:
        assert one in text
    assert "hidden" not in text


_WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_DOCUMENT = f"<w:document {_WORD}><w:body><w:p><w:r><w:t>%s</w:t></w:r></w:p></w:body></w:document>"
_TENFOLD = "".join(f'<!ENTITY l{level} "{f"&l{level - 1};" * 10}">' for level in range(1, 10))
# A text of a billion letters, and one that is another file of this machine.
LAUGHS = f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY l0 "l">{_TENFOLD}]>{_DOCUMENT % "&l9;"}'
EXTERNAL = f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>{_DOCUMENT % "&x;"}'


COMMON = [
    (b"\x00\x01\x02\x03" * 50, "unsupported_file", "type"),
    (encrypted_pdf("a secret"), "invalid_file", "encrypted"),
    (docx_of("x")[:-400], "invalid_file", "broken"),
]
ODD = [
    (zip_of("a.xml", b"<a/>"), "unsupported_file", "DOCX"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "invalid_file", "encrypted"),
    (b"%PDF-1.7\nbroken", "invalid_file", "broken"),
    (b" \n ", "invalid_file", "no text"),
    (pdf_of(""), "invalid_file", "no text"),
    (b"word " * 300_000, "invalid_file", "bytes"),
    # Of half a gigabyte; of two million operations; a page tree that contains itself.
    (packed_pdf(b" " * 500_000_000), "invalid_file", "broken: Limit"),
    (packed_pdf(b"BT /F1 12 Tf (a) Tj ET\n" * 2_000_000), "invalid_file", "too much time"),
    (pdf_of("a").replace(b"/Kids [4 0 R]", b"/Kids [2 0 R]"), "invalid_file", "broken"),
    (b"%PDF-", "invalid_file", "broken"),
    (b"PK\x03\x04", "invalid_file", "broken"),
    (docx_with(LAUGHS), "invalid_file", "broken"),
    (docx_with(EXTERNAL), "invalid_file", "no text"),
    (b"<html>" + b"<div>" * 300_000, "invalid_file", "no text"),
]


async def cannot_be_read(folder: Path, data: bytes, code: str, words: str) -> None:
    with pytest.raises(FileUnreadable, match=words) as refused:
        await text_of(folder, data)
    assert refused.value.code == code


@pytest.mark.parametrize(("data", "code", "words"), COMMON, ids=range(len(COMMON)))
async def test_what_cannot_be_read_says_why(tmp_path: Path, data: bytes, code: str, words: str) -> None:
    await cannot_be_read(tmp_path, data, code, words)


@pytest.mark.campaign
@pytest.mark.parametrize(("data", "code", "words"), ODD, ids=range(len(ODD)))
async def test_what_is_odd_says_why_as_well(tmp_path: Path, data: bytes, code: str, words: str) -> None:
    await cannot_be_read(tmp_path, data, code, words)


@pytest.mark.campaign
async def test_an_archive_that_unpacks_to_a_gigabyte_harms_nobody(tmp_path: Path) -> None:
    await cannot_be_read(tmp_path, zip_of("word/document.xml", b" " * 1_000_000_000), "invalid_file", "")


@settings(max_examples=40)
@given(
    st.lists(st.text(max_size=300), max_size=8),
    st.integers(min_value=2, max_value=60),
    st.integers(min_value=0, max_value=30),
)
def test_chunks_have_all_of_the_text_and_no_more_than_they_may(texts: list[str], most: int, overlap: int) -> None:
    overlap = min(overlap, most // 2)
    chunks = list(chunks_of(texts, most, overlap, estimated_tokens))
    assert "".join(text[common:] for text, common in chunks) == "".join(texts)
    for text, common in chunks:
        assert estimated_tokens(text) <= most or len(text) == 1 or text.isspace()
        assert estimated_tokens(text[:common]) <= overlap + 1
    for (before, _), (after, common) in pairwise(chunks):
        assert before.endswith(after[:common])

"""Which folder a catalog belongs to: the folder's id, in a table of the catalog with one row.

What this prevents: a database that is another one or empty, by a typo or because its dump is not restored yet. No file
would have a row in it, and the sweep would remove the bytes of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from open_responses.io.files.folder_mark import FolderMark
from open_responses.io.files.storage import Connection, FolderDiffers

TABLE = "CREATE TABLE IF NOT EXISTS folder (id TEXT NOT NULL)"
_ASKED_AT_ONCE = 200


def take(connection: Connection, mark: FolderMark, *, is_known: bool = False) -> None:
    """Write the folder's id into a catalog without one. In a transaction that no other process has at the same time.

    Raises FolderDiffers if the catalog is another folder's, or is new while the folder has files. With `is_known`, the
    catalog was in use before it had the table, and belongs to the folder for sure.
    """
    identity = mark.identity()
    found = connection.execute("SELECT id FROM folder").fetchone()
    if found is not None:
        check_owner(found[0], mark)
        return
    if not is_known and not _has_a_row(connection, mark):
        check_new(mark)
    connection.execute("INSERT INTO folder (id) VALUES (?)", (identity,))


def check_owner(owner: str, mark: FolderMark) -> None:
    """Raises FolderDiffers if the catalog is another folder's. Makes nothing."""
    identity = mark.known()
    if owner != identity:
        raise FolderDiffers(
            f"the catalog of files belongs to the folder with the id {owner}, and {mark.folder} has "
            f"{identity or 'none'}. Mount the catalog's folder, or set the address of this folder's database. If the "
            f"two do belong together, write '{owner} {mark.kind}' into {mark.path}, and start all processes again"
        )


def check_new(mark: FolderMark) -> None:
    """Raises FolderDiffers if a catalog without tables is not this folder's: the folder has files. Makes nothing."""
    if next(_names(mark), None) is not None:
        raise FolderDiffers(
            f"{mark.folder} has files, and the catalog that has to describe them is new. Restore the catalog first, or "
            "set the address of the old database. If the files may go, move "
            f"{mark.folder / 'bytes'} away, or set OPEN_RESPONSES_FILES_DIR to a new folder"
        )


def _has_a_row(connection: Connection, mark: FolderMark) -> bool:
    """Whether the catalog knows any of the files: one that was in use before it had the table."""
    names = _names(mark)
    while part := list(islice(names, _ASKED_AT_ONCE)):
        marks = ", ".join("?" * len(part))
        if connection.execute(f"SELECT 1 FROM files WHERE id IN ({marks}) LIMIT 1", part).fetchone() is not None:
            return True
    return False


def _names(mark: FolderMark) -> Iterator[str]:
    return (path.name for path in (mark.folder / "bytes").glob("*/*"))

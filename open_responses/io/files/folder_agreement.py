"""Compares the files folder of this process with that of the others, through Redis.

The first process writes the id of its folder, and each that has the same renews it. One with another folder refuses to
use it, until the folder is the same or those that had the other one are gone for a minute.
"""

from __future__ import annotations

import asyncio

import structlog

from open_responses.io.files.folder_mark import FolderMark
from open_responses.io.files.storage import FolderDiffers
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 10.0
_LIFE_SECONDS = 60
"""Of the id in Redis after the last process with this folder has ended."""


async def keep_comparing(redis: Redis, mark: FolderMark) -> None:
    """Compare until cancelled, and note a difference in the mark. While Redis is away, the last result holds."""
    while True:
        before = mark.difference
        try:
            mark.difference = await difference(redis, mark, claims=True)
        except (OSError, *RedisDown) as error:
            log.info("files_folder_not_compared", reason=str(error) or type(error).__name__)
        if mark.difference is not None and before is None:
            log.error("files_folder_differs", problem=mark.difference)
        elif before is not None and mark.difference is None:
            log.info("files_folder_agrees")
        await asyncio.sleep(_PAUSE_SECONDS)


async def difference(redis: Redis, mark: FolderMark, *, claims: bool) -> str | None:
    """What is wrong if the other processes have another folder; None if nothing is.

    With `claims`, the folder is made if it is missing, and becomes the one to compare with if there is none.

    Raises RedisDown, and OSError if the folder cannot be used.
    """
    try:
        own = await asyncio.to_thread(mark.identity if claims else mark.known)
    except FolderDiffers as error:
        return str(error)
    if claims and await redis.set(key_names.FILES_FOLDER, own or "", nx=True, ex=_LIFE_SECONDS):
        return None
    found = await redis.get(key_names.FILES_FOLDER)
    others = found.decode() if isinstance(found, bytes) else found
    if others is None or others == own:
        if claims:
            await redis.expire(key_names.FILES_FOLDER, _LIFE_SECONDS)
        return None
    return (
        f"{mark.folder} is not the files folder of the other processes with this Redis. Mount the same folder "
        "everywhere, and give each process its path in OPEN_RESPONSES_FILES_DIR"
    )

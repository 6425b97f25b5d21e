"""Compares the files folder of this process with those of the others, through Redis.

Each process registers its folder with the name of its machine. The folder that most machines have is used, and between
two that as many have, the one with the older mark. A process with another folder refuses to use it, until the folder is
the same or those that have the other one are gone for a minute.

What this prevents: one process without the mount that takes the files from all others, because it was the first after
Redis had lost its data.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterable

import structlog

from open_responses.io.files.folder_mark import FolderMark
from open_responses.io.files.storage import FolderDiffers
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 10.0
_LIFE_SECONDS = 60
"""Of a registration, after the last process of a machine with this folder has ended."""
_LOOKS_TO_AGREE = 3
"""So many in a row without a difference end one: when Redis has lost its data, the others register within a pause."""


async def keep_comparing(redis: Redis, mark: FolderMark) -> None:
    """Compare until cancelled, and note a difference in the mark. While Redis is away, the last result holds."""
    agreed = 0
    while True:
        try:
            found = await difference(redis, mark, claims=True)
        except (OSError, *RedisDown) as error:
            log.info("files_folder_not_compared", reason=str(error) or type(error).__name__)
        else:
            agreed = agreed + 1 if found is None else 0
            if found is not None:
                if mark.difference is None:
                    log.error("files_folder_differs", problem=found)
                mark.difference = found
            elif mark.difference is not None and agreed >= _LOOKS_TO_AGREE:
                mark.difference = None
                log.info("files_folder_agrees")
        await asyncio.sleep(_PAUSE_SECONDS)


async def difference(redis: Redis, mark: FolderMark, *, claims: bool) -> str | None:
    """What is wrong if the other processes have another folder; None if nothing is.

    With `claims`, the folder is made if it is missing, and registered.

    Raises RedisDown, and OSError if the folder cannot be used.
    """
    try:
        own = await asyncio.to_thread(mark.identity if claims else mark.known)
    except FolderDiffers as error:
        return str(error)
    now, _ = await redis.time()
    pipe = redis.pipeline(transaction=True)
    if claims:
        made_at = await asyncio.to_thread(mark.made_at)
        pipe.zadd(key_names.FILES_FOLDERS, {f"{own} {made_at} {socket.gethostname()}": now})
        pipe.zremrangebyscore(key_names.FILES_FOLDERS, "-inf", now - _LIFE_SECONDS)
        pipe.expire(key_names.FILES_FOLDERS, _LIFE_SECONDS)
    pipe.zrangebyscore(key_names.FILES_FOLDERS, now - _LIFE_SECONDS, "+inf")
    *_, registered = await pipe.execute()
    used = _used(one.decode() if isinstance(one, bytes) else one for one in registered)
    if used in (None, own):
        return None
    return (
        f"{mark.folder} is not the files folder of the other processes with this Redis. Mount the same folder "
        "everywhere, and give each process its path in OPEN_RESPONSES_FILES_DIR"
    )


def _used(registered: Iterable[str]) -> str | None:
    """The id of the folder that counts: of most machines, then with the older mark."""
    machines: Counter[str] = Counter()
    made: dict[str, int] = {}
    for one in registered:
        identity, made_at, _ = one.split(" ", 2)
        machines[identity] += 1
        made[identity] = min(int(made_at), made.get(identity, int(made_at)))
    return min(machines, key=lambda identity: (-machines[identity], made[identity], identity), default=None)

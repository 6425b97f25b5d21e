"""What was counted in the last minute, in this process."""

from __future__ import annotations

import time

_WINDOW_SECONDS = 60


class Window:
    """Amounts of the last minute, by the second."""

    def __init__(self) -> None:
        self._seconds: dict[int, int] = {}

    def add(self, amount: int) -> None:
        """Count an amount now."""
        second = int(time.time())
        self._seconds[second] = self._seconds.get(second, 0) + amount

    def raise_to(self, total: int) -> None:
        """Raise the total to this number. A higher total stays."""
        if (more := total - self.total) > 0:
            self.add(more)

    @property
    def total(self) -> int:
        """The sum of the last minute."""
        self._forget()
        return sum(self._seconds.values())

    @property
    def reset(self) -> float:
        """The seconds until all counts are older than a minute."""
        self._forget()
        return self._left(max(self._seconds)) if self._seconds else 0.0

    def wait(self, limit: int | None, more: int) -> float | None:
        """Seconds until `more` fits; None if it never does."""
        over = self.total + more - (limit or 0)
        if limit is None or over <= 0:
            return 0.0
        for second in sorted(self._seconds):
            over -= self._seconds[second]
            if over <= 0:
                return self._left(second)
        return None

    def _forget(self) -> None:
        oldest = int(time.time()) - _WINDOW_SECONDS
        for second in [second for second in self._seconds if second <= oldest]:
            del self._seconds[second]

    @staticmethod
    def _left(second: int) -> float:
        return second + _WINDOW_SECONDS - time.time()

"""What this process has found true once, by digest: it is not worked out again.

Key holders that are virtual clients of one process all check the same things.
"""

from threading import Lock

_KEPT = 4096
_all: list["Memo"] = []


def forget() -> None:
    """Forget everything: what is measured next is measured whole."""
    for memo in _all:
        memo.clear()


class Memo:
    """A set of the newest digests; safe to use from several threads.

    One for each kind of truth, for as long as the process lives.
    """

    def __init__(self) -> None:
        self._digests: dict[bytes, None] = {}  # in order of arrival
        self._lock = Lock()
        _all.append(self)

    def __contains__(self, digest: bytes) -> bool:
        """Whether this digest was added, and not so long ago."""
        return digest in self._digests

    def add(self, digest: bytes) -> None:
        """Remember a digest, and forget the oldest one where there are many."""
        with self._lock:
            self._digests[digest] = None
            if len(self._digests) > _KEPT:
                del self._digests[next(iter(self._digests))]

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._digests.clear()

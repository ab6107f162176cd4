"""Committees: how many key holders may collude, cheat or be away.

Implements PROTOCOL.md section 10.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Committee:
    """Any `threshold` of `num_holders` key holders open a sum."""

    threshold: int
    num_holders: int

    @property
    def may_collude(self) -> int:
        """Holders that may pool their shares, with the server, and open nothing."""
        return self.threshold - 1

    @property
    def may_cheat(self) -> int:
        """Malicious holders that still cannot get two sets of one round opened."""
        return max(0, 2 * self.threshold - self.num_holders - 1)

    @property
    def may_be_away(self) -> int:
        """Holders without whom a sum can still be opened."""
        return self.num_holders - self.threshold

    def __str__(self) -> str:
        return f"{self.threshold} of {self.num_holders}"

    def explain(self) -> str:
        """Say in one line what the numbers mean."""
        return (
            f"{self}: {self.may_collude} may collude, {self.may_cheat} may cheat, "
            f"{self.may_be_away} may be away"
        )


_GOOD: Final = tuple(
    Committee(threshold=threshold, num_holders=num_holders)
    for threshold, num_holders in ((3, 3), (3, 4), (4, 5), (5, 7), (6, 9), (7, 9))
)


def good_committees(*, near: int, at_most: int) -> list[Committee]:
    """Return the two good committees nearest in size to a bad one.

    Args:
        near: Key holders that were asked for.
        at_most: Key holders that there can be.
    """
    possible = [good for good in _GOOD if good.num_holders <= at_most]
    return sorted(possible, key=lambda good: abs(good.num_holders - near))[:2]

"""What a client agrees to, in its own `policy.toml`; nothing the server sends counts.

A missing or unreadable policy refuses everything: a client fails closed. The rules
are the floors that a client applies to a run's manifest, whoever made it
(PROTOCOL.md section 8.7).
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from crypto.errors import PolicyError
from crypto.manifest import Manifest
from crypto.params import AggregationParams

ANY: Final = "any"
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Policy:
    """The rules of one client.

    Attributes:
        protocols: Modes it takes part in.
        min_contributors: Smallest set this client's update may be added up in.
        max_contributors: Largest cohort it joins.
        min_key_bits: Smallest Paillier modulus it encrypts under.
        max_holders: Largest committee it accepts.
        max_malicious: Malicious key holders it assumes; a committee that withstands
            fewer is refused.
        networks: Digests of the networks it trains (`models.fingerprint`); None for
            any network.
        min_set_change: As a key holder, refuse a set that differs from an earlier one
            of the run by fewer clients than this, on either side; 0 for off.
    """

    protocols: tuple[str, ...]
    min_contributors: int
    max_contributors: int
    min_key_bits: int
    max_holders: int
    max_malicious: int
    networks: frozenset[str] | None
    min_set_change: int

    def check(self, manifest: Manifest) -> None:
        """Refuse a run that this client did not agree to.

        Raises:
            PolicyError: Names the rule, what it asks and what the run has.
        """
        params = manifest.params
        if params.mode not in self.protocols:
            raise PolicyError(
                f"protocols: this client allows {list(self.protocols)}, "
                f"the run has {params.mode!r}"
            )
        _at_least("min-contributors", self.min_contributors, params.min_contributors)
        _at_most("max-contributors", self.max_contributors, params.max_contributors)
        _at_least("min-key-bits", self.min_key_bits, params.key_bits)
        _at_most("max-holders", self.max_holders, params.num_holders)
        self._check_committee(params)

    def _check_committee(self, params: AggregationParams) -> None:
        # Two sets of one round are kept apart while 2t - nc > f (PROTOCOL.md 10), and
        # two honest clients stay in every sum while max-corrupt is not below f.
        withstood = 2 * params.threshold - params.num_holders - 1
        if min(withstood, params.max_corrupt) < self.max_malicious:
            raise PolicyError(
                f"max-malicious: this client asks for runs that withstand "
                f"{self.max_malicious}, the run has max-corrupt {params.max_corrupt} "
                f"and {params.threshold} of {params.num_holders} key holders, which "
                f"withstand {withstood}"
            )

    def check_network(self, digest: str) -> None:
        """Refuse to train or evaluate a network that is not on the list.

        Raises:
            PolicyError: With the digest, so that a person can look at it and add it.
        """
        if self.networks is not None and digest not in self.networks:
            raise PolicyError(
                f"networks: this client allows {len(self.networks)} networks, "
                f"the run has another one, {digest}"
            )


def _at_least(rule: str, asked: int, found: int) -> None:
    if found < asked:
        raise PolicyError(
            f"{rule}: this client asks for at least {asked}, the run has {found}"
        )


def _at_most(rule: str, allowed: int, found: int) -> None:
    if found > allowed:
        raise PolicyError(
            f"{rule}: this client allows at most {allowed}, the run has {found}"
        )


def read_policy(path: Path) -> Policy:
    """Read a `policy.toml`.

    Raises:
        PolicyError: If it is missing, unreadable, or a rule is missing, unknown or
            not what it should be; names file and rule.
    """
    rules = _read(path)
    missing = [name for name in _RULES if name not in rules]
    if missing:
        raise PolicyError(f"{path} has no rule {missing[0]!r}")
    unknown = sorted(rules.keys() - _RULES.keys())
    if unknown:  # a misspelt rule would otherwise protect nobody
        raise PolicyError(f"{path} has unknown rules: {unknown}")
    values: dict[str, Any] = {}
    for name, convert in _RULES.items():
        try:
            values[name.replace("-", "_")] = convert(rules[name])
        except (TypeError, ValueError):
            raise PolicyError(f"{path}: {name} cannot be {rules[name]!r}") from None
    return Policy(**values)


def _read(path: Path) -> Mapping[str, object]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise PolicyError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise PolicyError(f"{path} is not a policy") from None


def _count(value: object, *, at_least: int) -> int:
    """Take a whole number as it is: 3.9 or true would be a weaker rule than meant."""
    if type(value) is not int or value < at_least:
        raise ValueError
    return value


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise TypeError
    return tuple(value)


def _networks(value: object) -> frozenset[str] | None:
    if value == ANY:
        return None
    digests = _names(value)
    if not all(_DIGEST.fullmatch(digest) for digest in digests):
        raise ValueError
    return frozenset(digests)


_RULES: Final[Mapping[str, Callable[[object], object]]] = {
    "protocols": _names,
    "min-contributors": partial(_count, at_least=2),
    "max-contributors": partial(_count, at_least=2),
    "min-key-bits": partial(_count, at_least=1),
    "max-holders": partial(_count, at_least=1),
    "max-malicious": partial(_count, at_least=0),
    "networks": _networks,
    "min-set-change": partial(_count, at_least=0),
}

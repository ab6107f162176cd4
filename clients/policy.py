"""What a client agrees to, in its own `policy.toml`; nothing the server sends counts.

A missing or unreadable policy refuses everything: a client fails closed.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from crypto.manifest import Manifest


class PolicyError(Exception):
    """The client's own policy refuses; the message names the rule."""


@dataclass(frozen=True)
class Policy:
    """The rules of one client.

    Attributes:
        min_contributors: Smallest set this client's update may be added up in.
        protocols: Modes it takes part in.
        min_key_bits: Smallest Paillier modulus it encrypts under.
    """

    min_contributors: int
    protocols: tuple[str, ...]
    min_key_bits: int

    def check(self, manifest: Manifest) -> None:
        """Refuse a run that this client did not agree to.

        Raises:
            PolicyError: Names the rule, what it asks and what the run has.
        """
        params = manifest.params
        if params.mode not in self.protocols:
            raise PolicyError(
                f"protocols: this client allows {list(self.protocols)}, "
                f"the run is {params.mode!r}"
            )
        if params.min_contributors < self.min_contributors:
            raise PolicyError(
                f"min-contributors: this client asks for {self.min_contributors}, "
                f"the run opens sums of {params.min_contributors}"
            )
        if params.key_bits < self.min_key_bits:
            raise PolicyError(
                f"min-key-bits: this client asks for {self.min_key_bits}, "
                f"the run has {params.key_bits}"
            )


def read_policy(path: Path) -> Policy:
    """Read a `policy.toml`.

    Raises:
        PolicyError: If it is missing, unreadable, or a rule is missing or unknown.
    """
    try:
        rules = tomllib.loads(path.read_text())
        policy = Policy(
            min_contributors=_count(rules.pop("min-contributors"), at_least=2),
            protocols=_names(rules.pop("protocols")),
            min_key_bits=_count(rules.pop("min-key-bits"), at_least=1),
        )
    except OSError as error:
        raise PolicyError(f"cannot read {path}: {error.strerror}") from None
    except KeyError as error:
        raise PolicyError(f"{path} has no rule {error}") from None
    except (tomllib.TOMLDecodeError, TypeError, ValueError):
        raise PolicyError(f"{path} is not a policy") from None
    if rules:  # a misspelt rule would otherwise protect nobody
        raise PolicyError(f"{path} has unknown rules: {sorted(rules)}")
    return policy


def _count(value: object, *, at_least: int) -> int:
    """Take a whole number as it is: 3.9 or true would be a weaker rule than meant."""
    if type(value) is not int or value < at_least:
        raise ValueError
    return value


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise TypeError
    return tuple(value)

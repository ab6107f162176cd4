"""What everybody pins: the keys of a group, and with them the parameters of a run.

`keys.json` lies in every party's folder for as long as the group exists; one
`manifest.json` per run adds the parameters. Implements PROTOCOL.md section 7.3.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from crypto.encoding import canon
from crypto.errors import KeyMismatchError, ParameterError
from crypto.params import AggregationParams
from crypto.public_key import PublicKey
from crypto.roster import Roster

FORMAT: Final = "unseen-keys/1"
SIMULATION: Final = "simulation"
DEPLOYMENT: Final = "deployment"


@dataclass(frozen=True)
class KeySet:
    """The public half of a key ceremony.

    Attributes:
        public_key: The committee's key.
        roster: Clients and key holders.
        purpose: `SIMULATION` keys were made for one machine and are refused for a
            deployment: every secret was in the hands of one user.
    """

    public_key: PublicKey
    roster: Roster
    purpose: str

    def __post_init__(self) -> None:
        if self.purpose not in (SIMULATION, DEPLOYMENT):
            raise KeyMismatchError(f"unknown purpose of keys: {self.purpose!r}")
        if len(self.roster.holders) != self.public_key.num_holders:
            raise KeyMismatchError("roster and key disagree on the committee")

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits over everything in the set, to compare by voice."""
        return sha256(canon(self.to_dict())).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "format": FORMAT,
            "purpose": self.purpose,
            "public_key": self.public_key.to_dict(),
            "roster": self.roster.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "KeySet":
        """Rebuild a key set from `to_dict`.

        Raises:
            KeyMismatchError: If it is damaged or of another format.
        """
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise KeyMismatchError(f"expected format {FORMAT}")
        try:
            return cls(
                PublicKey.from_dict(values["public_key"]),
                Roster.from_dict(values["roster"]),
                values["purpose"],
            )
        except KeyError as error:
            raise KeyMismatchError(f"the key file has no {error}") from None


@dataclass(frozen=True)
class Manifest:
    """The pinned facts of one run: keys and parameters that fit each other."""

    keys: KeySet
    params: AggregationParams

    def __post_init__(self) -> None:
        key, params = self.keys.public_key, self.params
        pairs = {
            "key-bits": (key.key_bits, params.key_bits),
            "number of key holders": (key.num_holders, params.num_holders),
            "threshold": (key.threshold, params.threshold),
        }
        for name, (of_key, of_params) in pairs.items():
            if of_key != of_params:
                raise ParameterError(
                    f"{name} is {of_key} in the keys and {of_params} in the parameters"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"keys": self.keys.to_dict(), "params": self.params.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Manifest":
        """Rebuild a manifest from `to_dict`.

        Raises:
            KeyMismatchError: If the keys are damaged.
            ParameterError: If the parameters are.
        """
        try:
            keys, params = values["keys"], values["params"]
        except KeyError as error:
            raise KeyMismatchError(f"the manifest has no {error}") from None
        return cls(KeySet.from_dict(keys), AggregationParams.from_dict(params))


def read_json(path: Path) -> dict[str, Any]:
    """Read one of the project's JSON files.

    Raises:
        KeyMismatchError: If it is missing, unreadable or not a JSON object.
    """
    try:
        values = json.loads(path.read_text())
    except OSError as error:
        raise KeyMismatchError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise KeyMismatchError(f"{path} is not a key file") from None
    if not isinstance(values, dict):
        raise KeyMismatchError(f"{path} is not a key file")
    return values

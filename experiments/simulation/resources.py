"""What the virtual clients of a run get: a machine or a cluster, and a part of it."""

import math
from dataclasses import dataclass

from crypto.parallel import usable_cores
from experiments.errors import SettingsError


@dataclass(frozen=True)
class Resources:
    """What Ray is asked for.

    Attributes:
        address: Of a cluster that is there; empty for a Ray of the run's own, on this
            machine and on its loopback only.
        cpus: Cores of one actor; a fraction lets several share one.
        gpus: Graphics cards of one actor, or a fraction of one.
    """

    address: str
    cpus: float
    gpus: float

    def facts(self) -> dict[str, str | float]:
        """Return what a run's config.json keeps of it, under the options' names."""
        return {
            "engine": "ray",
            "ray_address": self.address,
            "client_cpus": self.cpus,
            "client_gpus": self.gpus,
        }

    def check(self, device: str) -> None:
        """Refuse what no actor could ever get.

        Args:
            device: Where clients train, as asked for.

        Raises:
            SettingsError: Names the option to change.
        """
        if not (math.isfinite(self.cpus) and self.cpus > 0):
            raise SettingsError(
                f"client-cpus must be more than 0, got {self.cpus:g}",
                "1 is one core for each client that trains; 0.5 lets two share one",
            )
        if not (math.isfinite(self.gpus) and self.gpus >= 0):
            raise SettingsError(
                f"client-gpus must be 0 or more, got {self.gpus:g}",
                "0.5 lets two clients share a graphics card",
            )
        if not self.address and self.cpus > usable_cores():
            raise SettingsError(
                f"client-cpus is {self.cpus:g}, and this machine has {usable_cores()}",
                "ask for less with --client-cpus, or name a cluster with --ray-address",
            )
        if device == "cuda" and not self.gpus:
            raise SettingsError(
                "virtual clients see no graphics card unless they ask for one",
                "add --client-gpus 1, or a fraction such as 0.25",
            )

"""What the engine and its process tell each other, through files in a private folder.

job.json    what to start, written before the process
ready       Ray is up
run.json    the run configuration: begin
error.json  why there is nothing to begin with
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from experiments.simulation.resources import Resources

JOB: Final = "job.json"
READY: Final = "ready"
RUN: Final = "run.json"
ERROR: Final = "error.json"


@dataclass(frozen=True)
class Job:
    """The virtual clients of one run.

    Attributes:
        num_clients: How many there are, with ids from 1.
        keyset: Has a folder for each of them.
        run_id: The run they are enrolled in, as hex.
        device: Where they train.
        resources: What they get.
    """

    num_clients: int
    keyset: Path
    run_id: str
    device: str
    resources: Resources

    def write(self, home: Path) -> None:
        """Leave the job where its process looks for it."""
        put(home / JOB, asdict(self) | {"keyset": str(self.keyset)})

    @classmethod
    def read(cls, home: Path) -> "Job":
        """Read what `write` left."""
        values = json.loads((home / JOB).read_text())
        values["keyset"] = Path(values["keyset"])
        values["resources"] = Resources(**values["resources"])
        return cls(**values)


def put(path: Path, values: Any) -> None:
    """Write a file that is there as a whole or not at all."""
    draft = path.with_name(f".{path.name}")
    draft.write_text(json.dumps(values))
    draft.replace(path)

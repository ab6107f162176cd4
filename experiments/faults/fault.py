"""What one client does to itself, and when."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

Action = Literal["kill", "stop", "leave", "shift"]
Moment = Literal[
    "start",
    "before-training",
    "before-upload",
    "during-upload",
    "after-upload",
    "before-opening",
]


@dataclass(frozen=True)
class Fault:
    """A client's fault.

    Attributes:
        client: Whose process it is.
        action: `kill` (SIGKILL), `stop` (SIGSTOP), `leave` (SIGTERM, which a client
            takes as a goodbye) or `shift` (its clock is wrong from start to end).
        moment: When; `start` for before it has joined.
        round: In which round; 0 if the moment is in none.
        seconds: By which a clock is ahead; negative for behind.
    """

    client: int
    action: Action
    moment: Moment = "start"
    round: int = 0
    seconds: float = 0.0

    def to_text(self) -> str:
        """Return the fault as one argument of a command."""
        words = (self.client, self.action, self.moment, self.round, self.seconds)
        return ",".join(map(str, words))

    @classmethod
    def from_text(cls, text: str) -> "Fault":
        """Read what `to_text` wrote.

        Raises:
            ValueError: If it is no fault.

        Example:
            >>> Fault.from_text(Fault(2, "kill", "during-upload", 3).to_text())
            Fault(client=2, action='kill', moment='during-upload', round=3, seconds=0.0)
        """
        client, action, moment, number, seconds = text.split(",")
        if action not in get_args(Action) or moment not in get_args(Moment):
            raise ValueError(f"expected a fault, got {text!r}")
        return cls(int(client), action, moment, int(number), float(seconds))  # type: ignore[arg-type]

    def is_due(self, moment: Moment, message: Any) -> bool:
        """Whether this is the moment: a message of the training of its round.

        Args:
            moment: Which one has come.
            message: The message just received, or the reply about to be sent.
        """
        if moment != self.moment or message.metadata.group_id != str(self.round):
            return False
        record = message.content.config_records.get("unseen", {})
        if moment == "before-opening":
            return bool(record.get("kind") == "open")
        kinds = ("round",) if moment == "before-training" else ("upload",)
        is_training = message.metadata.message_type == "train"
        return bool(is_training and record.get("kind") in kinds)

"""The one error of this package: a task, its data or its shards are unusable."""


class TaskError(ValueError):
    """A task cannot run as asked: unknown name, bad data, impossible partition.

    Attributes:
        hint: What the reader can do about it, or None.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

"""What the command line tells people: an error with a hint and an exit code.

Exit code 2 means that settings are wrong and nothing was started; 1 that a run
failed.
"""


class SettingsError(Exception):
    """Settings that cannot work; nothing was started or written.

    Args:
        message: What is wrong.
        hint: What to do about it.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class RunFailedError(SettingsError):
    """A run that was started and did not end well; its folder is kept."""

    exit_code = 1

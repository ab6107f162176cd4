"""What can end a round or a run at the server.

RoundError                    the round is given up, the run goes on
├── TooFewUpdatesError        fewer contributors than `min-contributors` in time
├── TooFewPartialsError       fewer key holders than the threshold answered
└── OpeningError              the opened sum is not one that honest clients made
RunError                      the run ends; carries a hint
ClientError                   a client answered with an error
"""


class RoundError(Exception):
    """A round that is given up; nothing of it is opened or published."""


class TooFewUpdatesError(RoundError):
    """Fewer contributors than `min-contributors` delivered in time."""


class TooFewPartialsError(RoundError):
    """Fewer key holders than the threshold answered in time."""


class OpeningError(RoundError):
    """The partial decryptions do not open a sum that honest clients made."""


class ClientError(Exception):
    """A client answered with an error; the text is its class name and no more."""


class RunError(Exception):
    """The run cannot go on.

    Args:
        message: What is wrong.
        hint: What to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

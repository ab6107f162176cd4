"""Which protocol and which code a party runs, so that a mix is refused, not guessed.

Top-level names such as `clients` are common: a process started in the wrong folder
could run another project's code and answer all the same.
"""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from crypto.encoding import lp

PROTOCOL: Final = "unseen/2"
_PACKAGES = ("clients", "crypto", "models", "server")


@cache
def code_digest() -> str:
    """Hash the sources that take part in a round: 16 hex digits."""
    root = Path(__file__).resolve().parent.parent
    digest = sha256()
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            digest.update(lp(name.encode()) + lp(path.read_bytes()))
    return digest.hexdigest()[:16]

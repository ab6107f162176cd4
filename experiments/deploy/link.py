"""The way to a SuperLink: is it there, is it ours, and how long to wait for it.

A mistake that no waiting mends is said at once; whatever may pass is waited for, and
the time at which that ends is printed.
"""

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final

from experiments.errors import RunFailedError, SettingsError

Tell = Callable[[str], None]

_TRY_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 1.0
_MAX_PORT: Final = 65535
_EXPIRED: Final = (9, 10)  # OpenSSL: not yet valid, has expired
_OTHER_NAME: Final = (62, 64)  # hostname, IP address mismatch


@dataclass(frozen=True)
class Link:
    """A SuperLink's address and the authority that signed its certificate.

    Attributes:
        address: `host:port`.
        ca: Certificate of the authority.
    """

    address: str
    ca: Path

    def wait(self, seconds: float, tell: Tell) -> None:
        """Return when the SuperLink answers.

        Args:
            seconds: How long to wait for it.
            tell: Takes a line for people, if there is something to wait for.

        Raises:
            SettingsError: If it is not the SuperLink of these certificates.
            RunFailedError: If it does not answer in time.
        """
        deadline = time.monotonic() + seconds
        told = False
        while (problem := self.probe()) is not None:
            if time.monotonic() > deadline:
                raise RunFailedError(
                    f"no SuperLink at {self.address} after {seconds:.0f} s ({problem})",
                    "start it, check the address, or wait longer with --wait",
                )
            if not told:
                until = clock_in(deadline - time.monotonic())
                tell(
                    f"no SuperLink at {self.address} yet ({problem}); "
                    f"waiting for it until {until}"
                )
                told = True
            time.sleep(_PAUSE_SECONDS)

    def probe(self) -> str | None:
        """Ask once for the SuperLink's health.

        Returns:
            None if it is well; else what is wrong for the moment.

        Raises:
            SettingsError: If it is not the SuperLink of these certificates.
        """
        host, port = split_address(self.address)
        connection = HTTPSConnection(
            host, port, timeout=_TRY_SECONDS, context=self._context()
        )
        try:
            connection.request("GET", "/health")
            status = connection.getresponse().status
        except ssl.SSLCertVerificationError as error:
            raise self._foreign(error) from None
        except ssl.SSLEOFError:
            return "it closed the connection"
        except ssl.SSLError as error:
            raise SettingsError(
                f"what answers at {self.address} does not speak TLS "
                f"({error.reason or 'no reason given'})",
                'start the SuperLink with "unseen deploy superlink"',
            ) from None
        except socket.gaierror:
            return f"the name {host} is unknown"
        except TimeoutError:
            return "no answer"
        except (OSError, HTTPException) as error:
            return getattr(error, "strerror", None) or type(error).__name__
        finally:
            connection.close()
        return None if status < 300 else f"it answers {status}"  # noqa: PLR2004

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=str(self.ca))
        except ssl.SSLError:
            raise SettingsError(f"{self.ca} is not a certificate") from None
        except OSError as error:
            raise SettingsError(f"cannot read {self.ca}: {error.strerror}") from None

    def _foreign(self, error: ssl.SSLCertVerificationError) -> SettingsError:
        if error.verify_code in _EXPIRED:
            return SettingsError(
                f"the certificate of the SuperLink at {self.address}, or {self.ca}, "
                f"has expired or is not valid yet",
                'compare the clocks; make new ones with "unseen deploy revoke"',
            )
        if error.verify_code in _OTHER_NAME:
            host = split_address(self.address)[0]
            return SettingsError(
                f"the SuperLink's certificate is not for the name {host}",
                f'dial a name it has, or make it with "deploy init --name {host}"',
            )
        return SettingsError(
            f"the certificate of the SuperLink at {self.address} is not signed by "
            f"{self.ca}: it belongs to another deployment, or to somebody else",
            "check the address, and that both folders come from the same deployment",
        )


def split_address(address: str) -> tuple[str, int]:
    """Split `host:port`, or `[ipv6]:port`.

    Raises:
        SettingsError: If it is neither.

    Example:
        >>> split_address("[::1]:9092")
        ('::1', 9092)
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= _MAX_PORT:
        raise SettingsError(f"{address!r} is not HOST:PORT", "e.g. superlink:9092")
    return host.strip("[]"), int(port)


def clock_in(seconds: float) -> str:
    """Return the time of day so many seconds from now."""
    return f"{datetime.now() + timedelta(seconds=seconds):%H:%M:%S}"

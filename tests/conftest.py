"""What every test gets: a private home, and a Flower that phones nobody."""

import os
import signal
from collections.abc import Iterator

import pytest

# Before the first import of flwr: it reads some of these when it is imported.
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
os.environ["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] = "1"

# Before the first import of the Hub's library: no test asks the real one.
os.environ["HF_HUB_OFFLINE"] = "1"

# A shell's background job ignores Ctrl-C, and so would every program under test.
signal.signal(signal.SIGINT, signal.default_int_handler)

from crypto import memo  # noqa: E402 - what is set above comes first

pytest_plugins = ["tests.attack_table", "tests.unseen_command"]


@pytest.fixture(scope="session", autouse=True)
def private_homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep keys, client state and Flower's files out of the user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("UNSEEN_HOME", "FLWR_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    """Forget what earlier tests have found true: this is a process of its own."""
    memo.forget()

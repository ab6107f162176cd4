"""Every check of the containers, in their order; `tests/containers/run` starts it."""

import signal
import sys
import tempfile
from pathlib import Path

from tests.containers.checks import Checks
from tests.containers.scene import Scene


def main() -> int:
    """Run all checks and return the exit code."""
    # A limit of time ends it like this: containers and namespaces go all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="unseen-containers-") as folder:
        # The parties' processes are not root, and pass through it to their folders.
        Path(folder).chmod(0o711)
        scene = Scene(Path(folder), checks)
        scene.prepare()
        try:
            if not checks.failed:
                scene.build()
            if not checks.failed:
                _look(scene)
        finally:
            scene.end()
    if checks.failed:
        sys.stdout.write(f"{len(checks.failed)} failed: {'; '.join(checks.failed)}\n")
    return 1 if checks.failed else 0


def _look(scene: Scene) -> None:
    """Make every check that needs the image; none of them needs another one."""
    scene.run()
    scene.audit()
    scene.compare_by_hand()
    scene.kill()
    scene.watch()
    scene.refuse()
    scene.search_image()


if __name__ == "__main__":
    sys.exit(main())

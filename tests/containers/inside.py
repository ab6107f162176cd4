"""What a container's processes are and where they can write, seen from inside.

`PROBE` runs in a container with nothing but Python. It tries instead of reading
settings: a file is made, and removed again, wherever the system might let it.
"""

import json

from tests.containers.checks import require
from tests.containers.engine import Compose, docker

# In memory, of a stated size, gone with the container.
MEMORY = {"/tmp", "/dev/shm", "/dev/mqueue"}  # noqa: S108 - of the container
VOLUMES: dict[str, set[str]] = {
    "superlink": {"/party/state"},
    "server": {"/runs"},
    "tensorboard": set(),
}
CLIENT_VOLUMES = {"/party"}

PROBE = """
import json, os
from pathlib import Path

def facts(process):
    lines = (Path("/proc") / process / "status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)

def writable(folder):
    path = os.path.join(folder, ".probe")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError:
        return False
    os.unlink(path)
    return True

def places():
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        top, options = line.split()[4:6]
        if top.startswith(("/proc", "/sys")):
            continue
        if not os.path.isdir(top):
            if os.access(top, os.W_OK):
                yield top
            continue
        for folder, names, files in os.walk(top):
            if writable(folder):
                yield folder
            elif "rw" in options.split(","):
                paths = [os.path.join(folder, name) for name in files]
                yield from (path for path in paths
                            if os.access(path, os.W_OK) and not os.path.islink(path))
                names[:] = [n for n in names if not os.path.ismount(
                    os.path.join(folder, n))]
                continue
            names.clear()

processes = [facts(p) for p in os.listdir("/proc") if p.isdigit()]
print(json.dumps({
    "uids": sorted({uid for p in processes for uid in p["Uid"].split()}),
    "gids": sorted({gid for p in processes for gid in p["Gid"].split()}),
    "capabilities": sorted({p[k].strip() for p in processes
                            for k in ("CapEff", "CapPrm", "CapBnd", "CapAmb")}),
    "no_new_privileges": sorted({p["NoNewPrivs"].strip() for p in processes}),
    "writable": sorted(set(places())),
}))
"""

# Anybody may write to these, and nothing stays there.
DEVICES = (
    *("/dev/console", "/dev/full", "/dev/null", "/dev/ptmx", "/dev/pts"),
    *("/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"),
)


def look_inside(service: str, container: str) -> None:
    """Check that a party is not root, cannot become it, and writes to its volumes only.

    Raises:
        CheckError: If one of it does not hold.
    """
    found = json.loads(
        docker("exec", "-i", container, "python", "-I", "-", given=PROBE)
    )
    require("0" not in found["uids"] + found["gids"], f"{service}: {found}")
    require(found["capabilities"] == ["0" * 16], f"{service}: {found['capabilities']}")
    require(found["no_new_privileges"] == ["1"], f"{service}: new privileges")
    allowed = MEMORY | VOLUMES.get(service, CLIENT_VOLUMES)
    writable = {p for p in found["writable"] if not p.startswith(DEVICES)}
    require(writable <= allowed, f"{service} writes to {sorted(writable - allowed)}")
    # Without these a blind probe would find nothing to complain about.
    own = VOLUMES.get(service, CLIENT_VOLUMES) | {"/tmp"}  # noqa: S108
    require(own <= writable, f"{service} cannot write to {sorted(own - writable)}")


def look_at_settings(compose: Compose, service: str) -> None:
    """Check a party's limits, and that it mounts its own folder only.

    Raises:
        CheckError: If one of it does not hold.
    """
    details = compose.details(service)
    host = details["HostConfig"]
    require(host["Memory"] > 0, f"{service}: no memory limit")
    require(host["PidsLimit"] > 0, f"{service}: no limit of processes")
    require(not host["PortBindings"], f"{service} publishes {host['PortBindings']}")
    sources = {mount["Source"] for mount in details["Mounts"]}
    own = [f"/deploy/{service}", f"/deploy/{service}/state"]
    own += ["/runs"] if service == "server" else []
    foreign = [source for source in sources if not source.endswith(tuple(own))]
    require(not foreign, f"{service} mounts {foreign}")

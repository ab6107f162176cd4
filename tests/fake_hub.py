"""A Hugging Face Hub of one data set on this machine, which can misbehave."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_COMMIT = 40 * "a"


class FakeHub(ThreadingHTTPServer):
    """Serves a folder as the data set ``repo``.

    Attributes:
        requests: Method and path of every request.
        cut_off: How many transfers break off in the middle.
        swaps: How many transfers bring other bytes than the checksum says.
        broken: Whether it answers every request with an error.
    """

    def __init__(self, repo: str, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repo = repo
        self.files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        self.requests: list[str] = []
        self.cut_off = 0
        self.swaps = 0
        self.broken = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.server, self.path.partition("?")[0]
        hub.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}")
        listed, served = f"/api/datasets/{hub.repo}", f"/datasets/{hub.repo}/resolve/"
        if hub.broken:
            self._answer(503, b"")
        elif path == f"{listed}/revision/main":
            about = {"id": hub.repo, "sha": _COMMIT, "siblings": []}
            self._answer(200, json.dumps(about).encode())
        elif path.startswith(f"{listed}/tree/"):
            self._answer(200, json.dumps(self._tree()).encode())
        elif path.startswith(served):
            self._send_file(path.removeprefix(served).partition("/")[2])
        else:
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _tree(self) -> list[dict[str, object]]:
        return [
            {
                "type": "file",
                "path": path,
                "size": len(content),
                "oid": 40 * "b",
                "lfs": {
                    "oid": hashlib.sha256(content).hexdigest(),
                    "size": len(content),
                    "pointerSize": 130,
                },
            }
            for path, content in self.server.files.items()
        ]

    def _send_file(self, path: str) -> None:
        hub, content = self.server, self.server.files[path]
        tag = hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": _COMMIT}
        start = int((self.headers.get("Range") or "bytes=0-")[6:].partition("-")[0])
        if self.command == "GET" and hub.swaps:
            hub.swaps -= 1
            content = bytes(len(content))
        body = content[start:]
        if start:
            headers["Content-Range"] = (
                f"bytes {start}-{len(content) - 1}/{len(content)}"
            )
        if self.command == "GET" and hub.cut_off:
            hub.cut_off -= 1
            self._answer(206 if start else 200, body, headers, stop=len(body) // 2)
            return
        self._answer(206 if start else 200, body, headers)

    def _answer(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        stop: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:stop])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def fake_hub(repo: str, folder: Path) -> Iterator[FakeHub]:
    hub = FakeHub(repo, folder)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()

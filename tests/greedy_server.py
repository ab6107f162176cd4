"""The server's app with one change: in round 1 it asks for one client's update.

Installed as another project's server app; everything it needs is the honest server's.
"""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from crypto.aggregation import RoundSum
from crypto.wire import OpenRequest
from server.app import main as honest_main

app = ServerApp()
honest_request = RoundSum.open_request


def greedy_request(self: RoundSum) -> OpenRequest:
    """Ask for the first contributor alone, as if nobody else had sent anything."""
    entries = self._entries
    if self._facts.round == 1:
        self._entries = dict(sorted(entries.items())[:1])
    try:
        return honest_request(self)
    finally:
        self._entries = entries


@app.main()
def main(grid: Grid, context: Context) -> None:
    RoundSum.open_request = greedy_request  # type: ignore[method-assign]
    honest_main(grid, context)

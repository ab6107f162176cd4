"""The ServerApp: wiring only.

Reads the run configuration, wraps a Flower strategy, measures the global model on
the public test split and keeps the model of the last good round on disk.
"""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.config import ServerConfig
from server.errors import RunError
from server.events import EventLog
from server.run import run

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run federated learning to its end, or to a named error."""
    config = ServerConfig.from_run_config(context.run_config)
    if config.run_dir:
        config.run_dir.mkdir(parents=True, exist_ok=True)
    events = EventLog(config.run_dir / "events.jsonl" if config.run_dir else None)
    try:
        run(grid, config, context.run_config, events)
    except Exception as error:
        hint = error.hint if isinstance(error, RunError) else ""
        events.write(
            "run_failed", error=type(error).__name__, message=str(error), hint=hint
        )
        raise

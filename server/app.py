"""The ServerApp: wiring only.

Reads the run configuration, wraps a Flower strategy, measures the global model on
the public test split and keeps the model of the last good round on disk.
"""

import logging

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
    _log_to_standard_output()
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


def _log_to_standard_output() -> None:
    """Let this package's own log be seen beside Flower's warnings."""
    logger = logging.getLogger("server")
    if not logger.handlers:
        handler = logging.StreamHandler()
        form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
        handler.setFormatter(logging.Formatter(form))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)

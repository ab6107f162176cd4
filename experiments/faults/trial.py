"""Carries out a trial and takes stock: one row for each of its scenarios."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.faults.place import CannotTryError, Site, site_for
from experiments.faults.run import Run, TrialError
from experiments.faults.scenario import COMPLETED, KILLED, Trial

_ERROR = "unseen: error: "
_HINT = "unseen run --resume"


@dataclass(frozen=True)
class Row:
    """What is known about a scenario at its end.

    Attributes:
        scenario: What went wrong.
        ends: How the run ended.
        rounds: The last round whose model was measured, and of how many; empty if the
            run never began.
        model: The round of the model on disk.
        orphans: Processes still there when the time for cleaning up was over.
        seconds: From the start of the run to the end of its last process.
        problem: What is not as it must be; empty if all is.
        skipped: Why it was not tried; empty if it was.
    """

    scenario: str
    ends: str = ""
    rounds: str = ""
    model: str = ""
    orphans: int = 0
    seconds: float = 0.0
    problem: str = ""
    skipped: str = ""


def carry_out(trial: Trial, folder: Path, home: Path) -> list[Row]:
    """Run a trial to its end.

    Args:
        trial: What to do.
        folder: For its files; its own.
        home: `UNSEEN_HOME`, shared by all trials.
    """
    names = [scenario.name for scenario in trial.scenarios]
    folder.mkdir()
    try:
        with site_for(trial.place, folder) as site:
            return _at(site, trial, folder, home)
    except CannotTryError as error:
        return [Row(name, skipped=str(error)) for name in names]
    except TrialError as error:
        return [Row(name, problem=str(error)) for name in names]


def _at(site: Site, trial: Trial, folder: Path, home: Path) -> list[Row]:
    run = Run(folder, home, out=site.out, prefix=site.prefix)
    started = time.monotonic()
    try:
        run.start(trial.options, trial.faults)
        trial.disturb(run)
        ends, problems = _ending(run, trial)
        orphans = sum(len(one.orphans()) for one in (run, *run.companions))
        seconds = time.monotonic() - started
        if trial.resume:
            resumed = _end_of(run, run.resume())
            ends = f"{ends}; resumed: {resumed}"
            problems += [f"resumed, it ends in {resumed}"] * (resumed != COMPLETED)
        problems += [f"{orphans} processes are left"] * bool(orphans)
        problems += _lost(run)
        return _rows(
            run, trial, Row("", ends, orphans=orphans, seconds=seconds), problems
        )
    finally:
        run.end()


def _ending(run: Run, trial: Trial) -> tuple[str, list[str]]:
    """Wait for the end, and say how it was and what is wrong with it."""
    ends = _end_of(run, run.finish())
    problems = [
        f"its companion ends in {end}"
        for one in run.companions
        if (end := _end_of(one, one.finish())) != COMPLETED
    ]
    if not ends.startswith(trial.ends):
        problems.append(f"expected {trial.ends}")
    if "Traceback" in run.output:
        problems.append("a traceback was printed")
    if trial.resume and ends != KILLED and _HINT not in run.output:
        problems.append("no hint how to go on")
    return ends, problems


def _end_of(run: Run, code: int) -> str:
    if code == 0:
        return COMPLETED
    if code < 0:
        return KILLED
    lines = [x for x in run.output.splitlines() if x.startswith(_ERROR)]
    return lines[-1].removeprefix(_ERROR) if lines else f"exit code {code}"


def _lost(run: Run) -> list[str]:
    """Say what of the finished rounds is not on disk."""
    measured = run.events("evaluated")
    if measured and _model_round(run) < measured[-1]["round"]:
        return [f"the model of round {measured[-1]['round']} is lost"]
    return []


def _model_round(run: Run) -> int:
    # Imported here: it loads torch, and only a run that began has a model.
    from server.checkpoint import MODEL, saved_round  # noqa: PLC0415
    from server.errors import RunError  # noqa: PLC0415

    try:
        return saved_round(run.out / MODEL)
    except RunError:
        return -1


def _rows(run: Run, trial: Trial, common: Row, problems: Sequence[str]) -> list[Row]:
    measured, asked = run.events("evaluated"), run.events("run_started")
    rounds = f"{measured[-1]['round']}/{asked[-1]['rounds']}" if measured else "none"
    model = f"round {_model_round(run)}" if measured else "none"
    rows = []
    for scenario in trial.scenarios:
        found = list(problems)
        if not scenario.holds(run):
            found.append("what must hold does not")
        rows.append(
            Row(
                scenario.name,
                common.ends,
                rounds,
                model,
                common.orphans,
                common.seconds,
                "; ".join(found),
            )
        )
    return rows

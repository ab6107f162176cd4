"""Runs all privacy experiments and makes their page: `make experiments`.

    python -m experiments.privacy [--quick] [--data DIR] [--only NAME ...]

Each runs in a process of its own, two at once where there are two cores.
"""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from crypto.parallel import usable_cores
from experiments.privacy.experiment import RESULTS, SEED
from experiments.privacy.page import write_page

NAMES: Final = (
    "word_leak",
    "ciphertext_side_channel",
    "label_leak",
    "image_reconstruction",
    "known_candidates",
    "differencing",
    "malicious_server",
    "membership",
)
PAGE: Final = Path("experiments/report.html")


def main(  # noqa: PLR0917 - typer passes options by name
    quick: Annotated[
        bool, typer.Option("--quick", help="A few minutes in all.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything but secrets.")] = SEED,
    out: Annotated[Path, typer.Option(help="Results.")] = RESULTS,
    page: Annotated[Path, typer.Option(help="The page.")] = PAGE,
    only: Annotated[list[str] | None, typer.Option(help="Of the names.")] = None,
) -> None:
    """Run the privacy experiments and write one page of them."""
    console = Console(highlight=False)
    if unknown := sorted(set(only or ()) - set(NAMES)):
        console.print(f"unseen: error: no experiment {', '.join(unknown)}")
        console.print(f"unseen: hint: they are {', '.join(NAMES)}")
        raise typer.Exit(2)
    options = [f"--seed={seed}", *["--quick"] * quick, *_data(data)]
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(min(2, usable_cores())) as pool:
        codes = pool.map(
            lambda name: _run(name, [*options, f"--out={out / name}"], out, console),
            only or NAMES,
        )
        failed = sum(code != 0 for code in codes)
    write_page(out, NAMES, page)
    console.print(f"{page} ({time.monotonic() - started:.0f} s)")
    raise typer.Exit(min(failed, 1))


def _data(data: Path | None) -> list[str]:
    return [f"--data={data}"] if data else []


def _run(name: str, options: list[str], out: Path, console: Console) -> int:
    """Run one; print what it printed when it has ended, so that two do not mix."""
    log = out / f"{name}.log"
    console.print(f"{name} ... (see {log})")
    with log.open("wb") as output:
        code = subprocess.run(
            [sys.executable, "-m", f"experiments.{name}", *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    console.print(log.read_text(encoding="utf-8", errors="replace"), markup=False)
    return code


if __name__ == "__main__":
    typer.run(main)

"""The page of all privacy experiments: made from their results, fetches nothing."""
# ruff: noqa: PLC0415 - jinja2 is loaded only where the page is made

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_STYLE = _HERE.parent / "report" / "style.css"

Result = Mapping[str, Any]


def write_page(folder: Path, names: Sequence[str], path: Path) -> None:
    """Write the page of the results that are there; it names those that are not.

    Args:
        folder: Has a folder per experiment, with `result.json` and the plot.
        names: Of all experiments, in order.
        path: Of the page.
    """
    results = [_read(folder / name, name) for name in names]
    there = [one for one in results if one is not None]
    missing = [n for n, one in zip(names, results, strict=True) if one is None]
    path.write_text(_render(there, missing), encoding="utf-8")


def _read(folder: Path, name: str) -> Result | None:
    """Return a result with its picture inside; None if there is none."""
    if not (folder / "result.json").is_file():
        return None
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    picture = base64.b64encode((folder / f"{name}.svg").read_bytes()).decode()
    result["picture"] = f"data:image/svg+xml;base64,{picture}"
    result["controls_hold"] = all(one["holds"] for one in result["controls"])
    return result


def _render(results: Sequence[Result], missing: Sequence[str]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = _short
    return environment.get_template("page.html").render(
        style=_STYLE.read_text(encoding="utf-8"),
        helps=[one for one in results if one["encryption_helps"]],
        does_not=[one for one in results if not one["encryption_helps"]],
        full=not any(one["quick"] for one in results),
        real=all(one["real_data"] for one in results),
        missing=missing,
    )


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"

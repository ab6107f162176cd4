"""Every privacy experiment as people start it: it ends well, with numbers and plots."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.privacy.__main__ import NAMES

VIEWS = {"plain", "encrypted", "key holder", "collusion"}


@pytest.mark.integration
@pytest.mark.parametrize("name", NAMES)
def test_a_quick_run_writes_numbers_and_both_plots(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", "--quick", "--out", tmp_path],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["number"] == f"E{NAMES.index(name) + 1}"
    assert {one["view"] for one in result["measures"]} >= VIEWS
    assert {one["is_positive"] for one in result["controls"]} == {True, False}
    assert all(one["holds"] for one in result["controls"])
    for kind in ("png", "svg"):
        assert (tmp_path / f"{name}.{kind}").stat().st_size > 10_000

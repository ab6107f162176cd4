"""The page of the privacy experiments, and the command that runs all of them."""

import importlib.util
import json
from pathlib import Path

import pytest
import typer
from matplotlib.figure import Figure
from rich.console import Console
from typer.testing import CliRunner

from experiments.privacy import __main__ as everything
from experiments.privacy.experiment import Experiment, Options, Outcome, carry_out
from experiments.privacy.numbers import Control, measure
from experiments.privacy.page import write_page


def result(folder: Path, name: str, *, helps: bool, quick: bool = False) -> None:
    def find(_: Options) -> Outcome:
        number = measure("one", [0.75, 0.8], view="plain", metric="AUC", null=[0.5])
        controls = [Control("the attack works", True, 0.8, low=0.7)]
        return Outcome([number], controls, f"So {name} <b>.", {"mails": 3}, Figure)

    experiment = Experiment("E0", name, f"About {name}", "Is it?", helps, find, "DP")
    options = Options(quick=quick, seed=7, data=Path("d"), tell=lambda _: None)
    carry_out(experiment, options, folder / name, Console(quiet=True))


def test_the_page_has_every_result_with_its_null_and_fetches_nothing(
    tmp_path: Path,
) -> None:
    result(tmp_path, "first", helps=True)
    result(tmp_path, "second", helps=False)
    page = tmp_path / "page.html"
    write_page(tmp_path, ["first", "second"], page)
    text = page.read_text()
    buys, does_not = text.index("What it buys"), text.index("What it does not")
    assert buys < text.index("About first") < does_not < text.index("About second")
    assert "0.775 AUC" in text
    assert ">0.5<" in text  # the null
    assert "So first &lt;b&gt;." in text
    assert text.count("data:image/svg+xml;base64,") == 2
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    assert "Quick runs" not in text


def test_the_page_says_what_it_lacks(tmp_path: Path) -> None:
    result(tmp_path, "first", helps=True, quick=True)
    write_page(tmp_path, ["first", "second"], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "have not been run: second" in text
    assert "Quick runs" in text


def test_a_control_that_fails_is_on_the_page(tmp_path: Path) -> None:
    result(tmp_path, "first", helps=True)
    path = tmp_path / "first" / "result.json"
    found = json.loads(path.read_text())
    found["controls"][0]["holds"] = False
    path.write_text(json.dumps(found))
    write_page(tmp_path, ["first"], tmp_path / "page.html")
    assert "these numbers mean nothing" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("name", everything.NAMES)
def test_every_experiment_is_a_module_of_its_own(name: str) -> None:
    assert importlib.util.find_spec(f"experiments.{name}") is not None


def test_an_unknown_experiment_is_named() -> None:
    app = typer.Typer()
    app.command()(everything.main)
    done = CliRunner().invoke(app, ["--only", "word_leek"])
    assert done.exit_code == 2
    assert "no experiment word_leek" in done.output
    assert "word_leak" in done.output

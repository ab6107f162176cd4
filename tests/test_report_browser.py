"""The report in a real browser, at the width of a desk and of a phone.

Needs the package ``playwright`` and a Chromium: its own, one on PATH, or the program
that UNSEEN_BROWSER names. Screenshots stay in pytest's temporary folder.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.report.views import write_views
from tests.report_run import Story, add_model, write_config

_WIDTHS = {"desktop": (1280, 800), "phone": (390, 844)}
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_SECTIONS = 7


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no playwright: pip install playwright"
    )
    found = filter(None, map(shutil.which, _PROGRAMS))
    program = os.environ.get("UNSEEN_BROWSER") or next(found, None)
    with playwright.sync_playwright() as engines:
        try:
            browser = engines.chromium.launch(executable_path=program)
        except playwright.Error as error:
            line = str(error).strip().splitlines()[0]
            pytest.skip(f"no browser: playwright install chromium ({line})")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the page of a run in which something of every kind happened."""
    folder = tmp_path_factory.mktemp("run")
    story = Story(folder)
    story.start(rounds=40)
    for number in range(1, 36):
        story.round(number, without=[number % 5 + 1] if number % 3 == 0 else [])
    story.tell(
        "round_failed",
        round=36,
        phase="train",
        code="E_SET",
        error="TooFewUpdatesError",
        message="round 36 has 3 of 4 needed updates after 30 s; nothing is opened",
    )
    story.tell("warning", message=f"a word without end: {'x' * 300}")
    story.tell("run_failed", error="RunError", message="too many", hint="see the logs")
    write_config(folder)
    add_model(folder)
    return write_views(folder)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", list(_WIDTHS))
def test_the_report_fits_its_screen_and_asks_nobody(
    browser: Any, report: Path, tmp_path: Path, device: str, scheme: str
) -> None:
    width, height = _WIDTHS[device]
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=scheme
    )
    told: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.screenshot(path=tmp_path / f"{device}-{scheme}.png", full_page=True)

    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert told == []
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    sections = page.locator("section").all()
    assert len(sections) == _SECTIONS
    assert all(section.is_visible() for section in sections)
    drawings = page.locator("figure > svg, svg.grid, img").all()
    assert all(_is_drawn(drawing) for drawing in drawings)
    page.close()


def _is_drawn(drawing: Any) -> bool:
    box = drawing.bounding_box()
    return bool(box and box["width"] > 10 and box["height"] > 10)


def test_the_text_of_a_chart_is_legible_on_a_phone(browser: Any, report: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(report.as_uri())
    heights = page.evaluate(
        "[...document.querySelectorAll('figure > svg text')]"
        ".map(text => text.getBoundingClientRect().height)"
    )
    page.close()
    assert min(heights) >= 9  # CSS pixels

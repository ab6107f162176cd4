"""What import-linter cannot see: the house's rules at run time and in the sources."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("clients", "crypto", "experiments", "models", "server")
SOURCES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
PRIVATE_KEY_MODULES = ("crypto.dealer", "crypto.key_holder", "crypto.primes")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("package", PACKAGES)
def test_package_init_is_a_docstring_only(package: str) -> None:
    """A re-export in crypto/__init__.py would load key code into every process."""
    tree = parsed(ROOT / package / "__init__.py")
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


def test_server_process_loads_no_private_key_module() -> None:
    """The import rules look at sources; this looks at a real interpreter."""
    program = (
        "import sys, server.app; "
        f"print(*(name for name in {PRIVATE_KEY_MODULES!r} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_private_key_modules_exist() -> None:
    """A renamed module would make the test above and the import rule pass idly."""
    for module in PRIVATE_KEY_MODULES:
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_nothing_imports_tests(path: Path) -> None:
    first_names = {module.split(".")[0] for module in imported_modules(path)}
    assert not first_names & {"tests", "conftest"}


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_file_is_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_functions_are_short_enough_to_read(path: Path) -> None:
    lengths = {
        node.name: length_without_docstring(node)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    too_long = {n: lines for n, lines in lengths.items() if lines > MAX_FUNCTION_LINES}
    assert too_long == {}


def length_without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    end = node.end_lineno or node.lineno
    length = end - node.lineno + 1
    if ast.get_docstring(node) is not None:
        docstring = node.body[0]
        length -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return length

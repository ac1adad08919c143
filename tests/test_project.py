"""The project as a whole: linted, typed, and as complete in a wheel as in a checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lexicon.catalog import entries

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "command",
    [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]],
    ids=" ".join,
)
def test_code_is_clean(command):
    finished = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.fixture(scope="module")
def installed_wheel(tmp_path_factory):
    """Build a wheel and unpack it where nothing of the checkout is in reach."""
    built, site = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", built, ROOT], check=True
    )
    (wheel,) = built.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    return site


def from_wheel(site, *words):
    finished = subprocess.run(
        [sys.executable, "-c", "from lexicon.terminal.commands import main; main()", *words],
        cwd=site.parent,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_a_wheel_is_complete(installed_wheel):
    package = installed_wheel / "lexicon"
    assert (package / "py.typed").is_file()
    for entry in entries():
        for wing, suffix in [("", "py"), ("docs/", "md"), ("examples/", "py")]:
            path = f"{wing}{entry.chapter}/{entry.slug}.{suffix}"
            source = ROOT / path if wing else ROOT / "lexicon" / path
            assert (package / path).read_bytes() == source.read_bytes()


def test_a_wheel_runs_without_the_checkout(installed_wheel):
    assert "k_wta" in from_wheel(installed_wheel)
    assert "What usually goes wrong?" in from_wheel(installed_wheel, "read", "k_wta")
    printed = from_wheel(installed_wheel, "run", "k_wta", "--set", "K=1")
    assert "+ active per sample   1 to 1 of 64" in printed
    assert "rewiring" in from_wheel(installed_wheel, "path", "rewiring")
    assert "k_wta" in from_wheel(installed_wheel, "search", "dead neurons")
    code = "import lexicon.catalog as c; print(c.__file__, c.find('k_wta').page)"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=installed_wheel.parent,
        env={**os.environ, "PYTHONPATH": str(installed_wheel)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout
    assert all(path.startswith(str(installed_wheel)) for path in printed.split())


def test_the_root_holds_nothing_unexpected():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout.split("\n")
    top = {path.split("/")[0] for path in tracked if path}
    assert top == {
        ".ci",
        ".gitignore",
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
        "docs",
        "examples",
        "lexicon",
        "mkdocs.yml",
        "pyproject.toml",
        "tests",
    }

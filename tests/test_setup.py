"""Set-up, and what is shipped: the Makefile's two commands, the versions that are pinned, the package that others install."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def dry_run(*arguments: str) -> str:
    """What make would do, .venv being ready."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--dry-run", "--assume-old=.venv/ready", *arguments]
    return subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=True).stdout


# ------------------------------------------------------------------ make


def test_make_run_trains_with_the_shipped_config() -> None:
    assert ".venv/bin/rltrainer train --config config.yaml" in dry_run("run")


def test_the_page_shows_what_an_oracle_chooses() -> None:
    assert "--labeler oracle --page on" in dry_run("run", "LABELER=oracle")


def test_a_person_needs_no_flags_and_no_baseline_gets_a_page() -> None:
    assert "--page" not in dry_run("run") + dry_run("run", "LABELER=none")


def test_flags_are_handed_on() -> None:
    assert "--labeler oracle --page on --env Pendulum-v1 --seed 3" in dry_run(
        "run", "LABELER=oracle", "ARGS=--env Pendulum-v1 --seed 3"
    )


def test_the_everyday_tests_are_pythons_and_the_pages() -> None:
    commands = dry_run("test")
    assert ".venv/bin/python -m pytest" in commands
    assert "node --test tests/web/*.test.js" in commands


# ------------------------------------------------------------------ .ci/setup, on machines that lack something


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A copy of the script's surroundings, and a folder `bin` with all the programs that the machine has."""
    for name in (".ci/setup", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for name in ("dirname", "id", "env", "uname"):
        program(tmp_path, name, f'exec {shutil.which(name)} "$@"')
    return tmp_path


def program(machine: Path, name: str, *lines: str) -> None:
    """Put a program of these lines on the machine, in place of the one of that name. Never a link: this writes to it."""
    file = machine / "bin" / name
    file.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    file.chmod(0o755)


def set_up(machine: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    surroundings = {"PATH": str(machine / "bin"), "HOME": str(machine), **variables}
    command = [str(machine / ".ci" / "setup"), *arguments]
    return subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)


def test_without_python_and_apt_the_user_is_told_what_to_install(machine: Path) -> None:
    done = set_up(machine)
    assert done.returncode == 1
    assert "apt-get install python3 python3-venv" in done.stdout
    assert "not a released Python 3.11, 3.12 or 3.13" in done.stderr
    assert not (machine / ".venv").exists()


def test_a_python_that_is_too_old_is_not_taken(machine: Path) -> None:
    program(machine, "python3", "exit 1")
    assert "python3 is not a released Python 3.11, 3.12 or 3.13" in set_up(machine, PYTHON="python3").stderr


def test_a_missing_package_is_named_before_it_is_installed(machine: Path) -> None:
    program(machine, "id", "echo 0")
    program(machine, "apt-get", 'echo "$@" >> apt.log')
    done = set_up(machine)
    assert "Python is missing: apt-get install python3 python3-venv" in done.stdout
    updated, installed = (machine / "apt.log").read_text().splitlines()
    assert updated.startswith("update")
    assert installed.endswith("python3 python3-venv")


def test_a_user_who_is_not_root_installs_with_sudo(machine: Path) -> None:
    program(machine, "id", "echo 1000")
    program(machine, "sudo", 'echo "$@" >> sudo.log')
    program(machine, "apt-get")
    assert "sudo apt-get install chromium" in set_up(machine, "chromium").stdout
    assert (machine / "sudo.log").read_text().startswith("apt-get update")


def test_a_chromium_that_is_there_is_left_alone(machine: Path) -> None:
    program(machine, "chromium")
    assert set_up(machine, "chromium").stdout == ""


# ------------------------------------------------------------------ versions


def names(requirements: list[str]) -> set[str]:
    found = [re.match(r"[A-Za-z0-9_.-]+", requirement) for requirement in requirements]
    return {name[0].lower().replace("_", "-") for name in found if name}


def test_everything_that_is_asked_for_is_pinned_to_the_version_that_was_run() -> None:
    extras = [requirement for extra in PROJECT["project"]["optional-dependencies"].values() for requirement in extra]
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all("==" in pin for pin in pins)
    assert names([*PROJECT["project"]["dependencies"], *extras]) - names(pins) == set()


# ------------------------------------------------------------------ what others install


def test_every_folder_of_the_package_is_shipped() -> None:
    folders = {str(file.parent.relative_to(ROOT)).replace("/", ".") for file in (ROOT / "rltrainer").rglob("*.py")}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == {*folders, "rltrainer_web"}


def test_the_page_reaches_those_who_install_without_a_checkout(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("rltrainer", "web"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=source, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("rltrainer-*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    page = {f"rltrainer_web/{file.relative_to(ROOT / 'web')}" for file in (ROOT / "web").rglob("*") if file.is_file()}
    assert page - shipped == set()
    assert "rltrainer/py.typed" in shipped

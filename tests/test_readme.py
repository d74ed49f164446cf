"""What the README and docs/ tell people to type works, and the files that they speak of are there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rltrainer import UserError
from rltrainer.cli import group

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
TRAINED = "train --env Pendulum-v1 --labeler oracle --labels 4 --n-envs 2 --steps 1024 --ppo.n-steps 128 --run runs/pendulum"


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Every block of code in that language, each with where it stands."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            yield f"{page.name}:{text.count(chr(10), 0, block.start()) + 2}", block[1]


def lines(program: str) -> list[str]:
    """Every line for the shell that begins with that program, comments left out."""
    commands = [shlex.split(line, comments=True) for _, block in blocks("sh") for line in block.splitlines()]
    return [shlex.join(words) for words in commands if words and words[0].removeprefix(".venv/bin/") == program]


@pytest.fixture
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which runs/pendulum was trained, and its labels were exported."""
    folder = tmp_path_factory.mktemp("workplace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        group.main(shlex.split(TRAINED), standalone_mode=False)
        group.main(["export", "runs/pendulum", "labels.parquet"], standalone_mode=False)
    return folder


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize(("where", "code"), [pytest.param(*block, id=block[0]) for block in blocks("python")])
def test_the_code_runs(where: str, code: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    exec(compile(code, where, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("command", lines("rltrainer"))
def test_the_commands_are_understood(command: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    name, *arguments = shlex.split(command)[1:]
    if name == "train" and not {"--help", "--resume"} & {*arguments}:
        # all that is wrong with the command is the folder: that is looked at once the settings are known to be right
        Path("config.yaml").write_bytes((ROOT / "config.yaml").read_bytes())
        with pytest.raises(UserError, match="exists already"):
            group.main([name, *arguments, "--run", "runs/pendulum"], standalone_mode=False)
    else:
        parsed = group.commands[name].make_context(name, arguments, resilient_parsing="--help" in arguments)
        assert parsed.params.get("run") in (None, Path("runs/pendulum"), Path("runs/hopper"))


@pytest.mark.parametrize("command", lines("make"))
def test_make_knows_what_to_do(command: str) -> None:
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    dry = [*shlex.split(command), "--dry-run"]
    told = subprocess.run(dry, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


def test_every_module_that_is_named_is_there() -> None:
    named = [shlex.split(line)[2] for line in lines("python")]
    assert named
    assert all((ROOT / f"{name.replace('.', '/')}.py").is_file() for name in named)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_linked_is_there(page: Path) -> None:
    text = re.sub(r"<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    linked = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in linked if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_is_named_is_there(page: Path) -> None:
    code = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").glob("*.py"))
    named = re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))
    assert [name for name in named if f"def {name}(" not in code] == []
    assert named or page.name != "reliability.md"

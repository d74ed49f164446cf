"""Facts about the house: which room may know which, and what importing it does (nothing)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import rltrainer

HOUSE = Path(rltrainer.__file__).parent

LADDER = [
    "core",
    "agreement",
    "disk",
    "lock",
    "logs",
    "memory",
    "optimizers",
    "checkpoints",
    "diagnostics",
    "seams",
    "seeds",
    "config",
    "lengths",
    "schedule",
    "fancy",
    "horizon",
    "floors",
    "envs",
    "replay",
    "recording",
    "exploring",
    "guard",
    "env_process",
    "watchdog",
    "terse",
    "interrupts",
    "wrapper",
    "segment_files",
    "parquet",
    "store",
    "backup",
    "report",
    "taken",
    "sizes",
    "labels",
    "home",
    "identity",
    "rewards",
    "refit",
    "learned",
    "repeats",
    "foretelling",
    "queries",
    "teachers",
    "asking",
    "loop",
    "methods",
    "labeling",
    "checkpoint",
    "progress",
    "capture",
    "training",
    "filming",
    "doctor",
    "inspection",
    "bench",
    "cli",
    "__main__",
]
"""From the ground up: each room may import what stands before it, and nothing that stands after it."""

LABELING = [
    "messages", "rules", "curves", "status", "gate", "limits", "effects", "lines", "shelf", "queue", "dealing", "foresight",
    "opinions", "watch", "session", "camera", "drawing", "gl", "clips", "worker", "desk", "reports", "server",
    "process", "bot", "invitations",
]  # fmt: skip
"""The same inside the label service."""

MODULES = sorted(HOUSE.rglob("*.py"))


@cache
def nodes(file: Path) -> list[ast.AST]:
    """The file's syntax tree, node by node."""
    return list(ast.walk(ast.parse(file.read_text())))


def dotted(file: Path) -> str:
    """The module's name below the package: `labeling.gate`, `rewards`, "" for the package itself."""
    parts = file.relative_to(HOUSE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of all that a file imports, also inside functions; not what is for type checkers only."""
    typing_only = {
        id(node)
        for block in nodes(file)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in nodes(file):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def rooms(file: Path) -> Iterator[tuple[int, str, str]]:
    """(line, room, module inside the room) of what a file imports of ours."""
    for line, name in imports(file):
        package, _, below = name.partition(".")
        if package == "rltrainer" and below:
            room, _, inside = below.partition(".")
            yield line, room, inside.partition(".")[0]


def test_every_module_has_its_place_on_the_ladder() -> None:
    homeless = {dotted(file).partition(".")[0] for file in MODULES} - {"", *LADDER}
    assert not homeless, f"add {sorted(homeless)} to LADDER where they belong"
    inside = {dotted(file).partition(".")[2] for file in (HOUSE / "labeling").glob("*.py")} - {""}
    assert inside <= {*LABELING}, f"add {sorted(inside - {*LABELING})} to LABELING where they belong"


@pytest.mark.parametrize("file", MODULES, ids=dotted)
def test_no_import_runs_up_the_ladder(file: Path) -> None:
    room, _, inside = dotted(file).partition(".")
    if not room:
        assert not list(rooms(file)), "the package itself imports its rooms only when a name is asked for"
        return
    upwards = [
        f"{file.name}:{line} imports {other}"
        for line, other, _ in rooms(file)
        if other in LADDER and LADDER.index(other) > LADDER.index(room)
    ]
    if room == "labeling" and inside:
        upwards += [
            f"{file.name}:{line} imports labeling.{other}"
            for line, its_room, other in rooms(file)
            if its_room == "labeling" and other in LABELING and LABELING.index(other) > LABELING.index(inside)
        ]
    assert not upwards


def test_core_imports_nothing_of_ours() -> None:
    assert not list(rooms(HOUSE / "core.py"))


def importers(package: str) -> set[str]:
    return {dotted(file) for file in MODULES for _, name in imports(file) if name.partition(".")[0] == package}


def test_only_the_store_knows_sql() -> None:
    rooms = {package: {name.partition(".")[0] for name in importers(package)} for package in ("sqlalchemy", "sqlite3")}
    assert rooms["sqlalchemy"] == {"store"}
    assert rooms["sqlite3"] <= {"store", "doctor"}, "doctor names the version that runs"


def test_the_loop_and_the_label_service_know_no_rl_library() -> None:
    knows = importers("stable_baselines3")
    assert not {name for name in knows if name.partition(".")[0] in ("loop", "labeling", "rewards", "queries", "store")}


def test_nothing_that_runs_code_is_read_from_disk() -> None:
    """No pickle, no torch.load, no SB3 zip, no YAML that makes objects."""
    assert not importers("pickle") | importers("cloudpickle") | importers("joblib") | importers("shelve") | importers("marshal")
    refused = {"torch.load", "torch.save", "np.load", "numpy.load", "PPO.load", "yaml.unsafe_load", "yaml.full_load"}
    found = []
    for file in MODULES:
        for node in nodes(file):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in refused:
                found.append(f"{file.name}:{node.lineno} {called}")
            if called == "yaml.load" and "_StrictLoader" not in ast.unparse(node):
                found.append(f"{file.name}:{node.lineno} {called}")
            if called in ("eval", "exec", "compile", "os.system"):
                found.append(f"{file.name}:{node.lineno} {called}")
    assert not found


def test_nobody_draws_from_a_global_generator() -> None:
    """`np.random.<draw>` and `random.<draw>` share one stream with everything else in the process."""
    own = {"default_rng", "SeedSequence", "Generator", "RandomState"}
    found = []
    for file in MODULES:
        for node in nodes(file):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            library, _, draw = called.rpartition(".")
            state = draw in ("get_state", "set_state")  # AirHockey's own generator is swapped in and out
            if library in ("np.random", "random") and draw not in own and not (state and file.name == "air_hockey.py"):
                found.append(f"{file.name}:{node.lineno} {called}")
            if called == "torch.manual_seed":
                found.append(f"{file.name}:{node.lineno} {called}")
    assert not found


IMPORT = """
import os, sys, threading
opened = []
sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" and isinstance(args[1], str)
                 and set(args[1]) & set("wax+") and str(args[0]) != os.devnull else None)
threads = threading.active_count()
before = set(sys.modules)
import rltrainer
light = set(sys.modules) - before
assert not light & {"torch", "gymnasium", "sqlalchemy", "stable_baselines3", "numpy"}, light
environment = dict(os.environ)
import rltrainer.cli
assert "torch" not in sys.modules and "gymnasium" not in sys.modules, "the command line starts quickly"
for name in rltrainer.__all__:
    getattr(rltrainer, name)
import rltrainer.training, rltrainer.labeling.session, rltrainer.labeling.clips
assert set(os.environ) - set(environment) <= {"KMP_INIT_AT_FORK", "KMP_DUPLICATE_LIB_OK", "PYGAME_HIDE_SUPPORT_PROMPT"}
assert threading.active_count() == threads, threading.enumerate()
written = [str(f) for f in opened if "__pycache__" not in str(f)]
assert not written, written
assert "fancy_gym" not in sys.modules
"""


def test_importing_starts_no_thread_and_writes_no_file(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_the_public_names_are_there() -> None:
    for name in (
        "PreferenceRewardWrapper",
        "PreferenceRewardVecWrapper",
        "PreferenceLoop",
        "PreferenceCallback",
        "OracleTeacher",
        "Config",
    ):
        assert getattr(rltrainer, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Preferences'"):
        rltrainer.Preferences  # noqa: B018 - looking it up is the test

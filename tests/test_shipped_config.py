"""The config.yaml that ships, and the files that people have already."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rltrainer.config import SEED_KEYS, Config, settings_of

ROOT = Path(__file__).parent.parent
SHIPPED = (ROOT / "config.yaml").read_text(encoding="utf-8")

SEED_FILE = """
allowEditing: 'on'
allowSkipping: 'on'
allowTies: 'on'
configRestricted: 'off'
FRAME_RATE: '50'
RUN_SPEED_FACTOR: '1.0'
MAX_QUEUE_SIZE: '3'
MAX_ENTRIES: '3'
"""


def test_the_shipped_file_holds_the_defaults() -> None:
    assert Config.parse(SHIPPED) == Config()


def test_the_shipped_file_is_what_its_command_writes() -> None:
    written = subprocess.run([sys.executable, ".ci/config_file.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert written.stdout == SHIPPED, "settings have changed; `make config.yaml` writes the file again"


@pytest.mark.parametrize(("name", "description"), [(name, field.description) for name, field in settings_of()])
def test_every_setting_has_a_line_with_its_meaning(name: str, description: str) -> None:
    section, _, word = name.rpartition(".")
    below = SHIPPED.partition(f"\n{section}:\n")[2] if section else SHIPPED
    line = next(line for line in below.splitlines() if line.startswith(f"{'  ' if section else ''}{word}: "))
    assert line.endswith(f"# {description}")


@pytest.mark.parametrize("key", SEED_KEYS)
def test_every_older_name_is_told_beside_its_setting(key: str) -> None:
    assert f"({key})" in SHIPPED


def test_no_line_is_longer_than_a_screen_is_wide() -> None:
    assert max(map(len, SHIPPED.splitlines())) <= 120


def test_a_file_with_nothing_but_the_eight_older_names_works_as_it_stands() -> None:
    config = Config.parse(SEED_FILE)
    assert config == Config().but(
        {
            "labeling.allow_editing": True,
            "labeling.allow_skipping": True,
            "labeling.allow_ties": True,
            "labeling.config_restricted": False,
            "clips.frame_rate": 50.0,
            "clips.speed": 1.0,
            "labeling.queue_size": 3,
            "labels": 3,
        }
    )


def test_each_older_name_can_be_switched_the_other_way() -> None:
    switched = Config.parse(SEED_FILE.replace("'on'", "'OFF'").replace("'off'", "'on'").replace("'OFF'", "'off'")).labeling
    assert (switched.allow_editing, switched.allow_skipping, switched.allow_ties) == (False, False, False)
    assert switched.config_restricted

"""Facts about `config.yaml`: what is understood, and the sentence for what is not."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from rltrainer.config import SEED_KEYS, Config, settings_of
from rltrainer.core import UserError


def refusal(text: str) -> str:
    """The one sentence with which a YAML text is refused."""
    with pytest.raises(UserError) as refused:
        Config.parse(text)
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


# ------------------------------------------------------------------ what is understood


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


def test_a_file_with_the_eight_seed_keys_works_as_it_stands() -> None:
    config = Config.parse(SEED_FILE)
    assert config.labeling.allow_editing is config.labeling.allow_skipping is config.labeling.allow_ties is True
    assert config.labeling.config_restricted is False
    assert config.clips.frame_rate == 50.0
    assert config.clips.speed == 1.0
    assert config.labeling.queue_size == 3
    assert config.labels == 3


def test_each_seed_key_has_its_effect() -> None:
    config = Config.parse(
        "allowEditing: off\nallowSkipping: off\nallowTies: off\nconfigRestricted: on\n"
        "FRAME_RATE: 25\nRUN_SPEED_FACTOR: 2\nMAX_QUEUE_SIZE: 5\nMAX_ENTRIES: 0\n"
    )
    labeling = config.labeling
    assert (labeling.allow_editing, labeling.allow_skipping, labeling.allow_ties) == (False, False, False)
    assert labeling.config_restricted
    assert (config.clips.frame_rate, config.clips.speed) == (25.0, 2.0)
    assert (config.labeling.queue_size, config.labels) == (5, 0)


def test_every_seed_key_names_a_setting_that_exists() -> None:
    assert set(SEED_KEYS.values()) <= {name for name, _ in settings_of()}
    assert len(SEED_KEYS) == 8


def test_seed_keys_and_sections_live_side_by_side() -> None:
    config = Config.parse("allowTies: off\nlabeling:\n  port: 9000\n")
    assert (config.labeling.allow_ties, config.labeling.port) == (False, 9000)


@pytest.mark.parametrize("written", ["1000000", "'1000000'", "1e6", "'1e6'", "1.0e+6", "1_000_000"])
def test_a_whole_number_may_be_written_in_many_ways(written: str) -> None:
    assert Config.parse(f"steps: {written}").steps == 1_000_000


@pytest.mark.parametrize("written", ["3e-4", "'3e-4'", "0.0003", "3.0e-4", "'0.0003'"])
def test_a_number_with_an_exponent_is_no_text(written: str) -> None:
    """PyYAML itself reads `3e-4` as text."""
    assert Config.parse(f"ppo: {{learning_rate: {written}}}").ppo.learning_rate == 3e-4


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("on", True),
        ("'on'", True),
        ("yes", True),
        ("true", True),
        ("off", False),
        ("'off'", False),
        ("no", False),
        ("'false'", False),
    ],
)
def test_switches_are_on_and_off_with_or_without_quotes(written: str, meant: bool) -> None:
    assert Config.parse(f"labeling: {{allow_ties: {written}}}").labeling.allow_ties is meant


@pytest.mark.parametrize(
    ("written", "meant"), [("on", "on"), ("'on'", "on"), ("off", "off"), ("'off'", "off"), ("auto", "auto")]
)
def test_on_and_off_are_words_where_a_word_is_asked_for(written: str, meant: str) -> None:
    """PyYAML reads `page: off` as false."""
    assert Config.parse(f"labeling: {{page: {written}}}").labeling.page == meant


@pytest.mark.parametrize("text", ["", "# nothing\n", "labeling:\n", "labeling:\n  # all of it commented out\nppo:\n"])
def test_what_is_left_out_has_its_default(text: str) -> None:
    assert Config.parse(text) == Config()


def test_an_empty_section_still_takes_seed_keys() -> None:
    assert Config.parse("labeling:\nallowTies: off\n").labeling.allow_ties is False


def test_yaml_anchors_may_be_merged() -> None:
    config = Config.parse("segments: &short {steps: 30}\nenv_options:\n  <<: *short\n  size: 3\n")
    assert config.env_options == {"steps": 30, "size": 3}


def test_a_config_written_out_reads_back_the_same() -> None:
    config = Config.parse(
        SEED_FILE + "env_options: {a: 1, b: [x, 2.5]}\nreward: {hidden: [32, 16, 8]}\nlabeling: {page: on, task: 'so: what?'}\n"
    )
    assert Config.parse(config.dump()) == config
    assert Config.parse(Config().dump()) == Config()


def test_an_envs_options_come_back_as_they_were_given_numbers_as_numbers() -> None:
    config = Config.parse("env_options: {healthy_z_range: [0.7, .inf], ctrl_cost_weight: 1e-3, scale: -2.5E3, name: 1e-x}")
    meant = {"healthy_z_range": [0.7, math.inf], "ctrl_cost_weight": 0.001, "scale": -2500.0, "name": "1e-x"}
    assert config.env_options == meant
    assert Config.parse(config.dump()).env_options == meant
    assert json.loads(json.dumps(config.model_dump(mode="json")))["env_options"] == meant


@pytest.mark.parametrize("text", ["1e3", "1e-3", "2.5E3", "1.5", "on", "~", "2026-11-30"])
def test_a_text_that_looks_like_something_else_comes_back_as_a_text(text: str) -> None:
    config = Config(env_options={"goal": text}, labels_from=text)
    assert Config.parse(config.dump()) == config


def test_names_that_would_not_come_back_are_refused() -> None:
    with pytest.raises(UserError, match="option names are words"):
        Config.of({"env_options": {"weights": [{1: 2.0}]}})


@pytest.mark.parametrize("written", ["9007199254740993", "'9007199254740993'"])
def test_a_long_number_is_not_rounded(written: str) -> None:
    assert Config.parse(f"seed: {written}").seed == 9007199254740993
    assert Config().but({"seed": written.strip("'")}).seed == 9007199254740993


def test_a_config_reads_the_same_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("steps: 5\nlabeling: {task: 'Wer läuft schöner?'}\n", encoding="utf-8")
    config = Config.read(tmp_path / "my.yaml")
    assert (config.steps, config.labeling.task) == (5, "Wer läuft schöner?")


def test_settings_are_changed_by_dotted_names_and_the_old_config_stays() -> None:
    before = Config()
    after = before.but({"queries.batch": "3", "steps": "1e4", "reward.hidden": ["8"]})
    assert (after.queries.batch, after.steps, after.reward.hidden) == (3, 10_000, (8,))
    assert before == Config()


def test_a_config_is_frozen() -> None:
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.steps = 3
    with pytest.raises(ValidationError, match="frozen"):
        config.ppo.gamma = 0.5


def test_every_setting_says_what_it_is() -> None:
    undescribed = [name for name, field in settings_of() if not field.description]
    assert not undescribed


def test_the_shipped_file_documents_every_setting_and_holds_the_defaults() -> None:
    shipped = Path(__file__).parent.parent / "config.yaml"
    text = shipped.read_text(encoding="utf-8")
    assert Config.parse(text) == Config()
    missing = [name for name, _ in settings_of() if name.rpartition(".")[2] not in text]
    assert not missing


# ------------------------------------------------------------------ what is refused, and in which words


def test_an_unknown_setting_is_refused_with_the_nearest_name() -> None:
    assert refusal("stps: 3") == "config: there is no setting 'stps'; did you mean 'steps'?"
    assert (
        refusal("queries: {stratgy: uniform}")
        == "config: there is no setting 'queries.stratgy'; did you mean 'queries.strategy'?"
    )
    assert refusal("allowTie: on") == "config: there is no setting 'allowTie'; did you mean 'allowTies'?"
    assert refusal("learning_rate: 0.1").startswith("config: there is no setting 'learning_rate'; did you mean ")


def test_an_unknown_setting_that_is_like_no_other_says_where_all_are_listed() -> None:
    assert refusal("zzzzzz: 3") == "config: there is no setting 'zzzzzz'; `rltrainer train --help` lists them all"


def test_a_setting_that_stands_twice_is_refused() -> None:
    sentence = refusal("steps: 3\nlabels: 4\nsteps: 5\n")
    assert "'steps' is set twice" in sentence
    assert "line 3" in sentence
    assert refusal("labeling:\n  port: 1\n  port: 2\n").endswith("'port' is set twice, in line 3")


def test_a_setting_under_both_of_its_names_is_refused() -> None:
    assert "MAX_ENTRIES and labels are one setting" in refusal("MAX_ENTRIES: 3\nlabels: 4")
    assert "allowTies and labeling.allow_ties are one setting" in refusal("allowTies: on\nlabeling: {allow_ties: off}")


@pytest.mark.parametrize(
    ("text", "setting", "found", "allowed"),
    [
        ("steps: 0", "steps", "0", "greater than or equal to 1"),
        ("steps: many", "steps", "'many'", "integer"),
        ("steps: 1.5", "steps", "1.5", "integer"),
        ("steps: .inf", "steps", "inf", "finite"),
        ("steps: .nan", "steps", "nan", "finite"),
        ("steps: null", "steps", "None", "integer"),
        ("steps: on", "steps", "True", "a number is asked for, not on or off"),
        ("steps: [3]", "steps", "[3]", "integer"),
        ("labels: -1", "labels", "-1", "greater than or equal to 0"),
        ("seed: -1", "seed", "-1", "greater than or equal to 0"),
        ("env: ''", "env", "''", "at least 1 character"),
        ("env: 3", "env", "3", "string"),
        ("labeler: human", "labeler", "'human'", "'browser', 'oracle' or 'none'"),
        ("labeling: {port: 70000}", "labeling.port", "70000", "65535"),
        ("labeling: {page: maybe}", "labeling.page", "'maybe'", "'auto', 'on' or 'off'"),
        ("labeling: {queue_size: 0}", "labeling.queue_size", "0", "greater than or equal to 1"),
        ("MAX_QUEUE_SIZE: none", "labeling.queue_size", "'none'", "MAX_QUEUE_SIZE"),
        ("labeling: {allow_ties: perhaps}", "labeling.allow_ties", "'perhaps'", "boolean"),
        ("FRAME_RATE: 0", "clips.frame_rate", "0", "greater than or equal to 1"),
        ("RUN_SPEED_FACTOR: -1", "clips.speed", "-1", "greater than 0"),
        ("clips: {size: 4}", "clips.size", "4", "greater than or equal to 32"),
        ("ppo: {gamma: 1.5}", "ppo.gamma", "1.5", "less than or equal to 1"),
        ("ppo: {gamma: on}", "ppo.gamma", "True", "not on or off"),
        ("ppo: {learning_rate: 0}", "ppo.learning_rate", "0", "greater than 0"),
        ("ppo: {learning_rate: .inf}", "ppo.learning_rate", "inf", "finite"),
        ("reward: {label_noise: 1}", "reward.label_noise", "1", "less than 1"),
        ("reward: {hidden: [64, x]}", "reward.hidden.1", "'x'", "integer"),
        ("reward: {hidden: 64}", "reward.hidden", "64", "tuple"),
        ("reward: 5", "reward", "5", "dictionary"),
        ("env_options: [1]", "env_options", "[1]", "dictionary"),
        ("env_options: {1: 2}", "env_options.1", "1", "string"),
    ],
)
def test_a_wrong_value_names_the_setting_what_was_found_and_what_is_allowed(
    text: str, setting: str, found: str, allowed: str
) -> None:
    sentence = refusal(text)
    assert sentence.startswith(f"config: {setting}")
    assert f"is {found}: " in sentence
    assert allowed in sentence


def test_a_misspelt_word_is_answered_with_the_nearest_one() -> None:
    assert "did you mean 'browser'?" in refusal("labeler: browsr")


def test_a_wrong_value_is_explained_with_the_settings_own_line() -> None:
    described = dict(settings_of())["segments.steps"].description
    assert f"({described})" in refusal("segments: {steps: 0}")


@pytest.mark.parametrize(
    "text", ["a: [1", "a: 'x", "\t- x", "a: b: c", "? [a]\n: b", "? {a: 1}\n: b", "a: \x00", "- &x\n- *y", "a: 2024-99-99"]
)
def test_what_is_not_yaml_is_one_sentence(text: str) -> None:
    assert refusal(text).startswith("config is not readable YAML: ")


def test_yaml_that_would_make_objects_is_refused() -> None:
    assert "could not determine a constructor" in refusal("env: !!python/object/apply:os.getcwd []")


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b", "list"), ("HalfCheetah-v5", "str"), ("3", "int")])
def test_a_file_that_holds_no_settings_is_refused(text: str, kind: str) -> None:
    assert f"holds a {kind}, not settings" in refusal(text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "binary.yaml"):
        with pytest.raises(UserError, match="cannot read the config") as refused:
            Config.read(path)
        assert repr(str(path)) in str(refused.value)


def test_a_mistake_in_a_file_is_told_with_the_files_name(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("stps: 5\n")
    with pytest.raises(UserError, match=r"my\.yaml: there is no setting 'stps'"):
        Config.read(tmp_path / "my.yaml")


def test_a_wrong_flag_is_told_as_the_command_lines() -> None:
    with pytest.raises(UserError, match=r"^command line: steps is 'abc'"):
        Config().but({"steps": "abc"})

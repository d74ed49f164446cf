"""`config.yaml` → one frozen, validated `Config`. Unknown keys, duplicate keys and wrong values are refused in one sentence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from rltrainer.core import UserError

Labeler = Literal["browser", "oracle", "none"]
Ties = Literal["half", "rao_kupper"]


def _no_switch(value: Any) -> Any:
    """YAML reads `on` as true, and true as a number would be 1."""
    if isinstance(value, bool):
        raise ValueError("a number is asked for, not on or off")  # noqa: TRY004 - the error that pydantic reports
    return value


def _whole(value: Any) -> Any:
    """`1e6` and '1e6' mean a million where a whole number is asked for."""
    value = _no_switch(value)
    if isinstance(value, str) and value.strip().isdecimal():
        return value  # as it is: a float would round a long one
    try:
        number = float(value) if isinstance(value, (str, float)) else None
    except ValueError:
        return value
    return int(number) if number is not None and number.is_integer() else value


def _switch_word(value: Any) -> Any:
    """YAML reads an unquoted `on` as true; where 'on' is one of several words it is meant as the word."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_no_switch)]
Count = Annotated[Whole, Field(ge=0)]
Size = Annotated[Whole, Field(ge=1)]
Several = Annotated[Whole, Field(ge=2)]
Share = Annotated[Number, Field(ge=0.0, le=1.0)]
Positive = Annotated[Number, Field(gt=0)]


class Section(BaseModel):
    """A frozen group of settings; each field's description is its line in `--help` and in the shipped file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants")


class Segments(Section):
    """What one clip is made of."""

    steps: Size | None = Field(
        None, description="env steps in a segment; unset: a second of the env's own time, of 50 steps or more"
    )
    recent_steps: Size = Field(
        16_000, description="newest env steps that are cut from; up to half of the candidates are segments judged before"
    )


class Queries(Section):
    """Which pairs are asked, and when."""

    strategy: str = Field(
        "disagreement", description="uniform, near_on_policy, disagreement, information_gain, or package.module:name"
    )
    candidates: Size = Field(10, description="pairs drawn for each pair asked")
    batch: Size = Field(5, description="pairs asked in one go when an oracle answers")
    warmup_share: Share = Field(
        0.25, description="share of the label budget that is due before training: an oracle gives all of it"
    )
    warmup_labels: Count = Field(10, description="answers that a person is waited for before training starts")
    decay: Positive = Field(
        0.2, description="the rate falls as C / (T + C); C as a share of the run: 0.01 is most early, 100 even"
    )


class Reward(Section):
    """The reward function that is learned."""

    learner: str | None = Field(
        None, description="bayes, ensemble, robust, surf, transformer, module:name; unset: bayes, ensemble for pictures"
    )
    members: Size = Field(3, description="nets in an ensemble")
    hidden: tuple[Size, ...] = Field((32, 32), description="units of each hidden layer of a net")
    learning_rate: Positive = Field(3e-4, description="Adam's step size, for nets")
    batch: Size = Field(16, description="comparisons in one gradient step, for nets")
    fit_steps: Size = Field(50, description="gradient steps of a refit, at most, for nets")
    label_noise: Annotated[Share, Field(lt=1)] = Field(0.4, description="share of answers taken to be chance")
    ties: Ties = Field("half", description="half: as much as one answer for either side; rao_kupper: an answer of their own")


class Teacher(Section):
    """The oracle's answers (B-Pref, Lee et al. 2021). As it stands it never errs."""

    beta: Annotated[Number, Field(ge=0)] | None = Field(
        None, description="rationality: P = sigmoid(beta * difference of true returns); unset: always right, 0: a coin"
    )
    gamma: Share = Field(1.0, description="myopia: each step weighs this share of the one after it")
    mistake: Annotated[Share, Field(le=0.5)] = Field(0.0, description="share of preferences turned round; 0.5: chance answers")
    skip: Share = Field(0.0, description="skips where neither segment is worth this share of the recent mean return")
    equal: Share = Field(0.0, description="says equal where returns differ by less than this share of that mean")


class PPO(Section):
    """Stable-Baselines3's PPO, pulled to the middle of actions at first. `--labeler none` has the same settings and no pull."""

    n_steps: Several | None = Field(
        None, description="steps of a rollout in each env; unset: 256, or 16 trajectories of movement primitives"
    )
    batch_size: Several = Field(256, description="transitions in one gradient step")
    n_epochs: Size = Field(10, description="passes over each rollout")
    learning_rate: Positive = Field(6e-4, description="Adam's step size")
    gamma: Share = Field(0.98, description="discount")
    gae_lambda: Share = Field(0.95, description="lambda of the advantage estimate")
    clip_range: Positive = Field(0.2, description="clipping of the policy ratio")
    ent_coef: Annotated[Number, Field(ge=0)] = Field(0.0, description="weight of the entropy bonus")
    log_std_init: Number = Field(-1.0, description="log of the first exploration noise, as a share of half the action range")


class SAC(Section):
    """Stable-Baselines3's SAC, its replay buffer relabelled at each refit. `--labeler none` trains with the same settings."""

    replay_ratio: Positive = Field(1.0, description="gradient steps for each env step")
    batch_size: Several = Field(128, description="transitions in one gradient step")
    learning_rate: Positive = Field(7.3e-4, description="Adam's step size")
    gamma: Share = Field(0.98, description="discount")
    exploration_steps: Count = Field(0, description="env steps spent on finding new states before the first labels")


class CPL(Section):
    """Contrastive preference learning: a policy from the labels themselves. Pairs are random, and asked at an even rate."""

    alpha: Positive = Field(0.01, description="what a log-probability counts; the smaller, the more decidedly the policy acts")
    cloning: Annotated[Number, Field(ge=0)] = Field(0.01, description="weight of imitating the better segments")
    learning_rate: Positive = Field(3e-3, description="Adam's step size")


class Labeling(Section):
    """The label service and its page."""

    task: str = Field(
        "Which clip is better?",
        description="what the labeler is asked; after a blank line, instructions in Markdown",
    )
    page: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch_word)] = Field(
        "auto", description="show the page; auto: when a person labels"
    )
    host: str = Field("127.0.0.1", description="address to listen on, which links name; for a network this machine's own")
    port: Annotated[Whole, Field(ge=0, le=65_535)] = Field(8765, description="port to listen on; 0 takes a free one")
    queue_size: Annotated[Whole, Field(ge=1, le=100_000)] = Field(
        8, description="pairs waiting for an answer, at most (MAX_QUEUE_SIZE)"
    )
    lease_seconds: Positive = Field(120.0, description="how long a pair is kept for one labeler")
    overlap: Share = Field(0.1, description="share of pairs that a second labeler judges, too, once there are two")
    allow_editing: bool = Field(True, description="the labeler may trim each clip (allowEditing)")
    allow_skipping: bool = Field(True, description='the labeler may answer "can\'t tell" (allowSkipping)')
    allow_ties: bool = Field(True, description='the labeler may answer "equal" (allowTies)')
    allow_reasons: bool = Field(True, description="the labeler may say in a few words why")
    config_restricted: bool = Field(False, description="no settings panel and no predicted reward on pages (configRestricted)")


class Clips(Section):
    """How segments are shown."""

    size: Annotated[Whole, Field(ge=32, le=1024)] = Field(256, description="longer side of a clip, in pixels")
    frame_rate: Annotated[Number, Field(ge=1, le=240)] | None = Field(
        None, description="frames per second; unset: the env's own (FRAME_RATE)"
    )
    speed: Annotated[Number, Field(gt=0, le=16)] = Field(1.0, description="playback speed, 1.0 is real time (RUN_SPEED_FACTOR)")


class Config(Section):
    """All settings of one run."""

    env: str = Field(
        "HalfCheetah-v5", min_length=1, description="Gymnasium or fancy_gym id, package.module:id or package.module:factory"
    )
    env_options: dict[str, Any] = Field(
        default_factory=dict,
        description="keyword arguments for making the env; fixed_horizon: on has episodes last until their time limit",
    )
    method: str = Field(
        "ppo", description="ppo, sac (fewer env steps, longer for each), cpl (no reward model), or package.module:name"
    )
    labeler: Labeler = Field(
        "browser", description="who answers: browser, oracle, or none (trains on the env's own reward, or on labels_from alone)"
    )
    steps: Size = Field(1_000_000, description="env steps of the run, warm-up included; PPO takes some thousands a second")
    labels: Count = Field(300, description="label budget of the run, 0 for no limit (MAX_ENTRIES)")
    labels_from: str | None = Field(
        None, description="folder of an earlier run, whose labels are learned from first and use up none of this budget"
    )
    seed: Count = Field(0, description="the one seed, from which every component gets its own")
    n_envs: Size = Field(8, description="envs stepped side by side")
    subprocesses: bool = Field(False, description="step each env in a process of its own")
    segments: Segments = Segments()
    queries: Queries = Queries()
    reward: Reward = Reward()
    teacher: Teacher = Teacher()
    ppo: PPO = PPO()
    sac: SAC = SAC()
    cpl: CPL = CPL()
    labeling: Labeling = Labeling()
    clips: Clips = Clips()

    @property
    def learns_reward(self) -> bool:
        """Whether the reward comes from preferences, rather than from the env."""
        return self.labeler != "none" or self.labels_from is not None

    @property
    def models_reward(self) -> bool:
        """Whether a reward model is learned; CPL has a policy from the labels themselves."""
        return self.learns_reward and self.method != "cpl"

    @field_validator("env_options")
    @classmethod
    def _plain(cls, options: dict[str, Any], _: ValidationInfo) -> dict[str, Any]:
        if not all(isinstance(name, str) for name in _names(options)):
            raise ValueError("option names are words")
        return options

    @classmethod
    def read(cls, path: Path | str) -> Config:
        """The settings in a YAML file. Raises UserError, naming the file and the setting."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot read the config {str(path)!r}: {error.strerror}; pass --config FILE") from None
        except UnicodeDecodeError:
            raise UserError(f"cannot read the config {str(path)!r}: it is not UTF-8 text; pass --config FILE") from None
        return cls.parse(text, where=str(path))

    @classmethod
    def parse(cls, text: str, where: str = "config") -> Config:
        """The settings in a YAML text."""
        settings = read_yaml(text, where)
        if settings is not None and not isinstance(settings, dict):
            raise UserError(f"{where} holds a {type(settings).__name__}, not settings; write lines like 'env: HalfCheetah-v5'")
        return cls.of(settings or {}, where)

    @classmethod
    def of(cls, settings: Mapping[str, Any], where: str = "config") -> Config:
        """The settings in a (nested) mapping, seed keys such as `allowTies` included."""
        try:
            return cls.model_validate(_sectioned(settings, where))
        except ValidationError as error:
            raise UserError(f"{where}: {_sentence(error)}") from None

    def but(self, changes: Mapping[str, Any], where: str = "command line") -> Config:
        """This config with dotted settings changed: `{"queries.batch": 3}`."""
        settings = self.model_dump()
        for name, value in changes.items():
            section, _, field = name.rpartition(".")
            (settings[section] if section else settings)[field] = value
        return Config.of(settings, where)

    def dump(self) -> str:
        """YAML that `parse` reads back to an equal config."""
        return yaml.dump(self.model_dump(mode="json"), Dumper=_StrictDumper, sort_keys=False)


SEED_KEYS = {
    "allowEditing": "labeling.allow_editing",
    "allowSkipping": "labeling.allow_skipping",
    "allowTies": "labeling.allow_ties",
    "configRestricted": "labeling.config_restricted",
    "FRAME_RATE": "clips.frame_rate",
    "RUN_SPEED_FACTOR": "clips.speed",
    "MAX_QUEUE_SIZE": "labeling.queue_size",
    "MAX_ENTRIES": "labels",
}
"""Names that people's existing files use → our dotted names."""


def settings_of(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting as (dotted name, pydantic field), in the order of the file."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from settings_of(field.annotation, f"{name}.")
        else:
            yield prefix + name, field


def _names(options: Any) -> Iterator[Any]:
    """Those of all options, also inside one another: what JSON and YAML have to give back as it was."""
    if isinstance(options, dict):
        yield from options
    if isinstance(options, dict | list | tuple):
        for part in options.values() if isinstance(options, dict) else options:
            yield from _names(part)


def read_yaml(text: str, where: str) -> Any:
    """What a YAML text says. Raises UserError where a key stands twice, or it is none."""
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or a number that is none
        mark = getattr(error, "problem_mark", None)
        what = " ".join(str(getattr(error, "problem", None) or error).split())
        line = "" if mark is None else f", in line {mark.line + 1}"
        raise UserError(f"{where} is not readable YAML: {what}{line}") from None


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key stands once, and 1e-3 is a number, as YAML 1.2 has it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  # PyYAML's own signature
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a setting's name is a word", key_node.start_mark)
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is set twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class _StrictDumper(yaml.SafeDumper):
    """Puts quotes around a text that `_StrictLoader` would read as a number."""


for _yaml in (_StrictLoader, _StrictDumper):
    _yaml.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )

SECTIONS = {name for name, field in Config.model_fields.items() if isinstance(field.default, Section)}
"""Groups of settings; one whose lines are all commented out counts as not given."""


def _sectioned(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Seed keys moved to their sections; a setting given under both of its names is refused."""
    given = {name: value for name, value in settings.items() if value is not None or name not in SECTIONS}
    result = {name: dict(value) if isinstance(value, Mapping) else value for name, value in given.items()}
    for key, name in SEED_KEYS.items():
        if key not in result:
            continue
        section, _, field = name.rpartition(".")
        target = result.setdefault(section, {}) if section else result
        if not isinstance(target, dict):
            raise UserError(f"{where}: {section} is {target!r}; write its settings below it, indented")
        if field in target:
            raise UserError(f"{where}: {key} and {name} are one setting and both are given; keep one of them")
        target[field] = result.pop(key)
    return result


def _sentence(error: ValidationError) -> str:
    """The first mistake, as one sentence: setting, value found, what is allowed."""
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"there is no setting {name!r}{_nearest(first['loc'])}"
    message = first["msg"].removeprefix("Value error, ")
    described = dict(settings_of()).get(name)
    if described is None:
        return f"{name} is {first['input']!r}: {message[0].lower()}{message[1:]}"
    if get_args(described.annotation) and first["type"] == "literal_error":
        guess = difflib.get_close_matches(str(first["input"]), [str(a) for a in get_args(described.annotation)], n=1)
        message += f"; did you mean {guess[0]!r}?" if guess else ""
    return f"{name} is {first['input']!r}: {message[0].lower()}{message[1:]} ({described.description})"


def _nearest(loc: tuple[int | str, ...]) -> str:
    """'; did you mean …' by the last word, looked up among all names."""
    known = [name for name, _ in settings_of()]
    dotted = ".".join(str(part) for part in loc)
    by_word = {name.rpartition(".")[2]: name for name in known} | {key: key for key in SEED_KEYS}
    guess = difflib.get_close_matches(dotted, known, n=1) or [
        by_word[word] for word in difflib.get_close_matches(str(loc[-1]), by_word, n=1, cutoff=0.5)
    ]
    return f"; did you mean {guess[0]!r}?" if guess else "; `rltrainer train --help` lists them all"

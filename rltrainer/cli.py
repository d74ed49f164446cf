"""`rltrainer train · label · invite · revoke · bot`; `evaluate · enjoy · fit · report · export · import · backup · doctor`."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import time
import webbrowser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic.fields import FieldInfo

from rltrainer.bench import Benchmarks
from rltrainer.config import Config, read_yaml, settings_of
from rltrainer.core import UserError

ON_THIS_MACHINE = (
    "It opens on this machine, and on others through a tunnel (ssh -L). To be opened in a network, start the service with "
    "--host and this machine's own address."
)

SHORT = {"labeling.port": "--port", "labeling.host": "--host", "labeling.page": "--page"}
"""Settings that have a flag without their section, too."""

RUN = click.argument("run", type=click.Path(path_type=Path))


def main() -> None:
    """The command line. What the user can mend ends with one sentence and exit code 2."""
    try:
        group.main(standalone_mode=False)
    except UserError as error:
        _fail(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message())
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _fail(f"the disk takes no more ({error.strerror}: {error.filename}); make room on it")
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


def _fail(sentence: str) -> None:
    print(f"rltrainer: {sentence}", file=sys.stderr)
    sys.exit(2)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="rltrainer")
def group() -> None:
    """Teach a Gymnasium agent by choosing the better of two clips, while it learns.

    \b
    Start here:
      rltrainer train                                   label HalfCheetah live in your browser
      rltrainer train --env Pendulum-v1 --labeler oracle --labels 100 --steps 60000
      rltrainer evaluate runs/...                       the trained policy's true return
    """  # noqa: D301 - click looks for the character itself


# ------------------------------------------------------------------ train


class SettingsCommand(click.Command):
    """A command with a flag for settings of the config, shown section by section."""

    def __init__(self, *args: Any, settings: tuple[str, ...] = ("",), unset: str | None = None, **kwargs: Any) -> None:
        """settings: how the names of those start that have a flag; unset: what holds without it, if not the default"""
        super().__init__(*args, **kwargs)
        self.params += [_option(name, field, unset) for name, field in settings_of() if name.startswith(settings)]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                sections.setdefault(getattr(parameter, "section", ""), []).append(record)
        for section, records in sections.items():
            with formatter.section(f"Settings of {section}" if section else "Options"):
                formatter.write_dl(records)


class SettingOption(click.Option):
    """A flag of one setting; its text is checked by the config, which knows what is allowed."""

    section = ""


def _option(name: str, field: FieldInfo, unset: str | None) -> SettingOption:
    section, _, word = name.rpartition(".")
    flags = [f"--{name.replace('_', '-')}", *([SHORT[name]] if name in SHORT else [])]
    default = field.get_default(call_default_factory=True)
    shown = {True: "on", False: "off"}.get(default, default) if isinstance(default, bool) else default
    option = SettingOption(
        [*flags, name.replace(".", "__")],
        help=f"{field.description}  [{unset or _shown(shown)}]",
        metavar=_metavar(word, default),
    )
    option.section = section
    return option


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return "unset" if default is None or default == {} else str(default)


def _metavar(word: str, default: Any) -> str:
    if isinstance(default, bool):
        return "on|off"
    return {int: "N", float: "X", tuple: "N,N", dict: "YAML"}.get(type(default), "X" if default is None else word.upper())


@group.command(cls=SettingsCommand)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file of settings; flags win over it")
@click.option("--run", "run", type=click.Path(path_type=Path), help="folder for the run; must not exist  [runs/ENV-TIME]")
@click.option(
    "--resume",
    "resumed",
    type=click.Path(path_type=Path),
    help="go on with that run, as if it had never ended, where --host and --port say",
)
@click.option("--no-open", is_flag=True, help="don't open the page in a browser")
def train(config_file: Path | None, run: Path | None, resumed: Path | None, no_open: bool, **flags: str | None) -> None:
    """Train a policy from preferences, with people or an oracle answering.

    With --labeler browser (the default) a page opens with two clips; choose the better one with the arrow keys. Training
    goes on while you look. With --labeler oracle the env's own reward answers, and with --labeler none it is the reward: the
    baseline of every comparison. Ctrl-C ends the run and keeps everything in its folder; --resume goes on with it, also after
    a crash.
    """
    from rltrainer.checkpoint import RunFolder
    from rltrainer.progress import Dashboard
    from rltrainer.training import resume
    from rltrainer.training import train as run_training

    if resumed is None:
        config = changed(Config.read(config_file) if config_file is not None else Config(), flags)
        path = run or Path("runs") / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', config.env)}-{time.strftime('%Y%m%d-%H%M%S')}"
    else:
        address = {name: flags.pop(name) for name in ADDRESS}
        _refuse_settings(resumed, {"config": config_file, "run": run, **flags})
        config, path = changed(RunFolder.open(resumed).config, address), resumed
    dashboard = Dashboard(config.steps)

    def announce(url: str) -> None:
        dashboard.say(f"Label here: {url}")
        if not no_open and has_desktop():
            webbrowser.open(url)

    try:
        if resumed is None:
            run_training(config, path, dashboard, announce)
        else:
            resume(path, dashboard, announce, config)
    finally:
        dashboard.close()
    dashboard.say(f"Saved in {path} · see it: rltrainer enjoy {path} · measure it: rltrainer evaluate {path}")


ADDRESS = ("labeling__host", "labeling__port")
"""Settings that a run that goes on may be given anew: somebody else may have its port by now."""


def _refuse_settings(resumed: Path, given: Mapping[str, object]) -> None:
    """Raises UserError where a run that goes on is told other settings than those it began with."""
    name = next((name for name, value in given.items() if value is not None), None)
    if name is not None:
        flag = name.replace("__", ".").replace("_", "-")
        raise UserError(f"resume is {str(resumed)!r}, and a run goes on with its own settings; leave --{flag} out")


def changed(config: Config, flags: Mapping[str, str | None]) -> Config:
    """The config with the flags that were given."""
    given = {name.replace("__", "."): text for name, text in flags.items() if text is not None}
    return config.but({name: _value(name, text) for name, text in given.items()})


def _value(name: str, text: str) -> Any:
    """A flag's text as the config takes it; lists and mappings are YAML."""
    field = dict(settings_of())[name]
    default = field.get_default(call_default_factory=True)
    if isinstance(default, tuple):
        return [part.strip() for part in text.strip("[]()").split(",") if part.strip()]
    if isinstance(default, dict):
        return read_yaml(text, f"{name} is {text!r}, which")
    return None if default is None and text in ("", "none", "unset") else text


def has_desktop() -> bool:
    """Whether there is a screen to open a browser on."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


# ------------------------------------------------------------------ label


@group.command()
@RUN
@click.option("--host", help="address to listen on, which links name  [the run's labeling.host]")
@click.option("--port", type=click.IntRange(0, 65_535), help="port to listen on, 0 for a free one  [the run's labeling.port]")
@click.option("--no-open", is_flag=True, help="don't open the page in a browser")
@click.option("--with-parent", type=int, hidden=True, help="end when the process of this id is gone")
def label(run: Path, host: str | None, port: int | None, no_open: bool, with_parent: int | None) -> None:
    """Serve the labeler page of a run, also with no training alive or after it has ended.

    Prints an admin's URL: who has it may label, pause and change settings (`rltrainer invite` makes links for labeling alone).
    Every answer that the page calls saved is in the run's store.
    """
    from rltrainer.labeling.server import serve

    def announce(url: str) -> None:
        print(url, flush=True)
        if not no_open and has_desktop():
            webbrowser.open(url)

    serve(run, host=host, port=port, announce=announce, until=_gone(with_parent))


@group.command()
@RUN
@click.option("--name", required=True, help="whose labels come in through the link")
@click.option("--admin", is_flag=True, help="let them change settings and see everybody's figures, too")
def invite(run: Path, name: str, admin: bool) -> None:
    """Print a personal link to a run's labeler page, while its label service runs.

    It is shown once, and works at once, until `rltrainer revoke` ends it.
    """
    from rltrainer.labeling.gate import on_this_machine
    from rltrainer.labeling.invitations import invite as make_link

    link = make_link(run, name, admin=admin)
    print(link)
    print(f"For {name} alone: whoever has this link labels under that name.", file=sys.stderr)
    if on_this_machine(link):
        print(ON_THIS_MACHINE, file=sys.stderr)


@group.command()
@RUN
@click.option("--name", required=True, help="whose links to end")
def revoke(run: Path, name: str) -> None:
    """End every link of a labeler. Their pages are closed within seconds; their labels stay."""
    from rltrainer.labeling.invitations import revoke as end_links

    count = end_links(run, name)
    print(f"{count} {'link' if count == 1 else 'links'} of {name} ended")


@group.command()
@RUN
@click.option("--host", help="address of the label service  [the run's labeling.host]")
@click.option("--port", type=click.IntRange(1, 65_535), help="port of the label service  [the run's labeling.port]")
@click.option("--pace", type=click.FloatRange(0), default=0.0, show_default=True, help="seconds between two answers")
def bot(run: Path, host: str | None, port: int | None, pace: float) -> None:
    """Answer the pairs of a run like a person, by the true reward and the run's teacher settings.

    For a run of --labeler browser whose label service is up. Ends with the service, or with Ctrl-C.
    """
    from rltrainer.labeling.bot import answer

    print(f"{answer(run, host=host, port=port, pace=pace)} labels saved")


def _gone(parent: int | None) -> Callable[[], bool] | None:
    return None if parent is None else lambda: os.getppid() != parent


# ------------------------------------------------------------------ afterwards


@group.command()
@RUN
@click.option("--episodes", type=click.IntRange(1), default=20, show_default=True, help="whole episodes to play")
@click.option("--seed", type=click.IntRange(0), default=1_000_003, help="seed of the first episode, apart from training's")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def evaluate(run: Path, episodes: int, seed: int, as_json: bool) -> None:
    """Play the trained policy, without exploration, and give its return on the env's own reward."""
    import numpy as np

    from rltrainer.checkpoint import RunFolder
    from rltrainer.training import evaluate as play

    returns = play(RunFolder.open(run), episodes, seed)
    mean, std = float(np.mean(returns)), float(np.std(returns))
    if as_json:
        print(json.dumps({"mean_return": mean, "std_return": std, "episodes": len(returns), "returns": returns}))
    else:
        print(f"true return {mean:.1f} ± {std:.1f} over {len(returns)} episodes")


@group.command()
@RUN
@click.option("--out", type=click.Path(path_type=Path), help="the video file  [RUN/enjoy.mp4]")
@click.option("--seed", type=click.IntRange(0), default=1_000_003, help="seed of the episode")
@click.option("--size", type=click.IntRange(64, 1024), default=480, show_default=True, help="longer side in pixels")
def enjoy(run: Path, out: Path | None, seed: int, size: int) -> None:
    """Film one episode of the trained policy."""
    from rltrainer.checkpoint import RunFolder
    from rltrainer.filming import film

    folder = RunFolder.open(run)
    file = out or folder.path / "enjoy.mp4"
    true_return, steps = film(folder, file, seed, size)
    print(f"{file}: {steps} steps, true return {true_return:.1f}")


@group.command(cls=SettingsCommand, settings=("seed", "reward."), unset="the run's")
@RUN
@click.option("--out", type=click.Path(path_type=Path), help="a new file for it  [RUN/reward-fit-N.safetensors]")
def fit(run: Path, out: Path | None, **flags: str | None) -> None:
    """Learn a reward model anew from a run's labels, with other settings.

    Takes seconds and needs no env: the steps lie in the run's folder. What was trained stays as it is. The true reward, where
    there is one, is compared on the segments that were asked about last, which the model has seen.
    """
    import torch

    from rltrainer.checkpoint import RunFolder
    from rltrainer.progress import Dashboard
    from rltrainer.refit import refit, table
    from rltrainer.store import Store

    torch.set_num_threads(1)  # several times quicker on nets as small as these
    dashboard = Dashboard(1)
    store = Store.open(run)
    try:
        config = changed(Config.of(store.fact("config"), str(run)), flags)
        found = refit(store, config.reward, config.seed, dashboard.fitting)
    finally:
        store.close()
        dashboard.close()
    file = RunFolder(run).add_reward(found.learner.state(), config.reward, out)
    for name, value in table(found):
        print(f"{name:34}{value}")
    print(f"{'reward model':34}{file}")


@group.command()
@RUN
@click.option("--json", "as_json", is_flag=True, help="print the same figures as one JSON object, and write no file")
def report(run: Path, as_json: bool) -> None:
    """Write how a run went and who labelled it into RUN/report.html, one file with its plots in it.

    Also while the run goes on. An admin's page has a button that opens it.
    """
    from dataclasses import asdict

    from rltrainer.report import gather, write

    figures = gather(run)
    print(json.dumps(asdict(figures)) if as_json else write(figures, run))


@group.command()
@RUN
@click.argument("file", type=click.Path(path_type=Path), required=False)
def export(run: Path, file: Path | None) -> None:
    """Write a run's labels to FILE, or to RUN/labels.jsonl.

    One JSON object a line; a FILE that ends in .parquet gets the steps of both segments too, for other tools.
    """
    from rltrainer.checkpoint import RunFolder
    from rltrainer.store import Store

    store = Store.open(run)
    try:
        count = RunFolder(run).export_labels(store, file)
    finally:
        store.close()
    print(f"{file or run / 'labels.jsonl'}: {count} labels")


@group.command(name="import")
@RUN
@click.argument("file", type=click.Path(path_type=Path))
def import_(run: Path, file: Path) -> None:
    """Take labels back into a run: FILE is what `rltrainer export` wrote, of that run or a copy of it.

    A label that is there already stays as it is, so importing twice is importing once. All of FILE is taken, or nothing.
    """
    from rltrainer.labels import import_labels
    from rltrainer.store import Store

    store = Store.open(run)
    try:
        count, new = import_labels(store, file)
    finally:
        store.close()
    print(f"{run}: {count} labels in {file}, {new} of them new")


@group.command()
@RUN
@click.argument("folder", type=click.Path(path_type=Path), required=False)
def backup(run: Path, folder: Path | None) -> None:
    """Copy a run to FOLDER, or to RUN/backups/TIME, also while it trains and is labelled.

    The copy is a run folder of its own, without the logs. FOLDER may be on another disk, or on a network one.
    """
    from rltrainer.backup import back_up

    done = back_up(run, folder)
    print(f"{done.folder}: {done.labels} labels, {done.segments} segments")
    if done.damaged:
        print(f"{len(done.damaged)} segment files are damaged and left out; see rltrainer doctor {run}", file=sys.stderr)
        sys.exit(1)


@group.command(cls=Benchmarks, subcommand_metavar="NAME [FLAGS]...")
def bench() -> None:
    """Run a benchmark of a checkout, as `python -m benchmarks.NAME FLAGS` does there.

    Each has flags of its own, `--json FILE` and `--quick` among them: `rltrainer bench labels --help`.
    """


@group.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--port", type=click.IntRange(0, 65_535), default=8765, show_default=True, help="port to try")
def doctor(run: Path | None, port: int) -> None:
    """Check what commonly breaks on this machine, or a run's folder; say how to mend it, and end with 1 if something is wrong.

    Of a RUN: the store's integrity, every segment's hash, every label's query, what was learned, and labels.jsonl.
    """
    from rltrainer.doctor import checks, healthy, report

    if run is None:
        found = checks(port)
    else:
        from rltrainer.inspection import inspect

        found = inspect(run)
    print(report(found))
    if not healthy(found):
        sys.exit(1)

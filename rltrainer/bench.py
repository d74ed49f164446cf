"""`rltrainer bench`: the benchmarks of a checkout, which are no part of the package."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import click

from rltrainer.core import UserError


class Benchmarks(click.Group):
    """The benchmarks of a checkout, each a command that is handed its flags as they stand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        root = _checkout()
        return [] if root is None else list(_benchmarks(root))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        root = _checkout()
        if root is None:
            raise UserError(f"bench is {cmd_name!r}, and there is no folder benchmarks here; run it in a checkout of rltrainer")
        known = _benchmarks(root)
        if cmd_name not in known:
            raise UserError(f"bench is {cmd_name!r}, and there is no such benchmark ({', '.join(known)})")
        return click.Command(
            cmd_name,
            {"ignore_unknown_options": True, "allow_interspersed_args": False},
            callback=lambda flags: _run_benchmark(root, cmd_name, flags),
            params=[click.Argument(["flags"], nargs=-1, type=click.UNPROCESSED)],
            short_help=known[cmd_name],
            add_help_option=False,
        )


def _checkout() -> Path | None:
    """The checkout that this runs from, or else the one that is the working directory."""
    places = (Path(__file__).parents[1], Path.cwd())
    return next((place for place in places if (place / "benchmarks" / "arms.py").exists()), None)


def _benchmarks(root: Path) -> dict[str, str]:
    """Every benchmark with what it measures."""
    found: dict[str, str] = runpy.run_path(str(root / "benchmarks" / "__init__.py"))["BENCHMARKS"]
    return found


def _run_benchmark(root: Path, name: str, flags: tuple[str, ...]) -> None:
    sys.path.insert(0, str(root))
    sys.argv = [name, *flags]
    runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)

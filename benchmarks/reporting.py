"""What every benchmark shares: its flags, and a results file that says how to make it again."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rltrainer.core import UserError

ROOT = Path(__file__).parents[1]
PACKAGES = ("rltrainer", "torch", "stable-baselines3", "gymnasium", "mujoco", "numpy", "imitation")


def flags(description: str | None) -> argparse.ArgumentParser:
    """A parser with `--json FILE` and `--quick`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw results here")
    parser.add_argument("--quick", action="store_true", help="at most two minutes: fewer repeats, the same code")
    return parser


def write(file: Path | None, figures: dict[str, Any], raw: Any) -> None:
    """Print the figures; write them with everything they came from."""
    for name, value in figures.items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")
    if file is None:
        return
    content = {
        "command": command(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": {
            "system": platform.platform(terse=True),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        "load_at_end": os.getloadavg(),
        "packages": {name: found for name in PACKAGES if (found := installed(name))},
        "figures": figures,
        "raw": raw,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1) + "\n")


def installed(package: str) -> str | None:
    """Its version, where it is there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def require_imitation() -> None:
    """Raises UserError where the peer is missing."""
    if installed("imitation") is None:
        raise UserError(
            f"imitation, which is compared with, is not installed; `{sys.executable} -m pip install --no-deps "
            f"-r {ROOT / 'benchmarks' / 'peers.txt'}` does it, best in an environment of its own"
        )


def command() -> str:
    """What makes the results again, with no folder of this machine."""
    words = [word if not Path(word).is_absolute() else Path(word).name for word in sys.argv[1:]]
    return " ".join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *words])


def run(main: Callable[[], None]) -> None:
    """A benchmark's command: what the user can mend ends with one sentence, Ctrl-C and a polite kill with its clean end."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except UserError as error:
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)

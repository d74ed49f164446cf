"""Where a loop keeps its run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rltrainer.config import Config
from rltrainer.core import UserError
from rltrainer.labels import check_heritage, inherit
from rltrainer.sizes import Sizes
from rltrainer.store import Store


def open_home(run: Path | str | None, config: Config, sizes: Sizes) -> tuple[Store, tempfile.TemporaryDirectory[str] | None]:
    """The store in that folder, or a temporary one; where there is none a new one, with the labels that the config names.

    Raises UserError where they fit no run of these sizes, before anything is made, and where the store is another env's.
    """
    temporary = tempfile.TemporaryDirectory(prefix="rltrainer-") if run is None else None
    folder = Path(temporary.name) / "run" if temporary else Path(run)  # type: ignore[arg-type]
    facts: Mapping[str, Any] = {
        "env": {"id": config.env, "options": config.env_options},
        "config": config.model_dump(mode="json"),
        "sizes": sizes.fact,
    }
    there = Store.lies_in(folder)
    if config.labels_from is not None and not there:
        check_heritage(Path(config.labels_from), sizes)
    store = _opened(folder, config, sizes) if there else Store.create(folder, **facts)
    if config.labels_from is not None and not any(label.inherited for label in store.labels()):
        inherit(store, Path(config.labels_from))
    return store, temporary


def _opened(folder: Path, config: Config, sizes: Sizes) -> Store:
    """The store of a run that goes on: with the settings that it has now."""
    store = Store.open(folder)
    env = store.fact("env")
    made, now = (env["id"], env["options"], Sizes.stored(store)), (config.env, config.env_options, sizes)
    if json.dumps(made[:2]) != json.dumps(now[:2]) or made[2] != now[2]:
        store.close()
        what, this = (f"{name!r} with {options} ({size})" for name, options, size in (made, now))
        raise UserError(f"{str(folder)!r} holds a run on {what}, and this is one on {this}; pass another folder")
    store.set_fact("config", config.model_dump(mode="json"))
    return store

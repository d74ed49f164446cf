"""Where a loop keeps its run."""

from __future__ import annotations

import json
import tempfile
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
    there = Store.lies_in(folder)
    if config.labels_from is not None and not there:
        check_heritage(Path(config.labels_from), sizes)
    store = _opened(folder, config, sizes) if there else Store.create(folder, **_facts(config, sizes))
    if config.labels_from is not None and not any(label.inherited for label in store.labels()):
        inherit(store, Path(config.labels_from))
    return store, temporary


def _opened(folder: Path, config: Config, sizes: Sizes) -> Store:
    """The store of a run that goes on: with the settings that it has now."""
    store = Store.open(folder)
    facts = _facts(config, sizes)
    if not store.counts()["asked"] and not store.labels():  # nothing to go on with
        for name, fact in facts.items():
            store.set_fact(name, fact)
        return store
    made, now = store.fact("env"), json.loads(json.dumps(facts["env"]))
    before = Sizes.stored(store)
    if made != now or not before.teach(sizes):
        store.close()
        what, this = (f"{env['id']!r} with {env['options']} ({size})" for env, size in ((made, before), (now, sizes)))
        raise UserError(f"{str(folder)!r} holds a run on {what}, and this is one on {this}; pass another folder")
    store.set_fact("config", facts["config"])
    return store


def _facts(config: Config, sizes: Sizes) -> dict[str, Any]:
    """What a store says of its run."""
    return {
        "env": {"id": config.env, "options": config.env_options},
        "config": config.model_dump(mode="json"),
        "sizes": sizes.fact,
    }

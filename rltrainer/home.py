"""Where a loop keeps its run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rltrainer.config import Config
from rltrainer.core import UserError
from rltrainer.labels import check_heritage, inherit
from rltrainer.sizes import Sizes
from rltrainer.store import FILE, Store


def check_env(env: Any, config: Config) -> None:
    """Raises UserError where the store would name another env than the one that is stepped: its clips could not be made."""
    spec = env.get_attr("spec", 0)[0] if hasattr(env, "num_envs") else env.spec
    if spec is not None and spec.id != config.env and ":" not in config.env:
        raise UserError(f"config.env is {config.env!r}, and the wrapped env is {spec.id!r}; pass Config(env={spec.id!r})")


def open_home(run: Path | str | None, config: Config, sizes: Sizes) -> tuple[Store, tempfile.TemporaryDirectory[str] | None]:
    """The store in that folder, or a temporary one; where there is none a new one, with the labels that the config names.

    Raises UserError where they fit no run of these sizes, before anything is made.
    """
    temporary = tempfile.TemporaryDirectory(prefix="rltrainer-") if run is None else None
    folder = Path(temporary.name) / "run" if temporary else Path(run)  # type: ignore[arg-type]
    facts: Mapping[str, Any] = {
        "env": {"id": config.env, "options": config.env_options},
        "config": config.model_dump(mode="json"),
        "sizes": sizes.fact,
    }
    there = (folder / FILE).exists()
    if config.labels_from is not None and not there:
        check_heritage(Path(config.labels_from), sizes)
    store = Store.open(folder) if there else Store.create(folder, **facts)
    if config.labels_from is not None and not any(label.inherited for label in store.labels()):
        inherit(store, Path(config.labels_from))
    return store, temporary

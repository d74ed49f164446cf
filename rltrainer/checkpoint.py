"""A whole run to disk and back: config, policy, reward model, store, labels, logs. Tensors are safetensors, never pickles."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from rltrainer import parquet
from rltrainer.config import Config, Reward
from rltrainer.core import Array, Label, UserError
from rltrainer.disk import check_local, write_whole
from rltrainer.store import Store


class RunFolder:
    """`config.yaml`, `policy.safetensors`, `reward.safetensors`, `store.db` with `segments/`, `labels.jsonl`, `logs/`.

    A run of `method: cpl` has learned no reward.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, config: Config) -> RunFolder:
        """A new folder with the config as resolved. Raises UserError where something lies there already, or a store cannot."""
        check_free(path)
        if config.learns_reward:
            check_local(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"run is {str(path)!r}, which cannot be made: {error.strerror}; pass another --run DIR") from None
        folder = cls(path)
        folder.write("config.yaml", config.dump().encode())
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The folder of a run that was started. Raises UserError."""
        if not (path / "config.yaml").is_file():
            raise UserError(
                f"{str(path)!r} is not a run folder: it holds no config.yaml; pass the folder that `rltrainer train` printed"
            )
        return cls(path)

    @property
    def config(self) -> Config:
        """The settings of the run."""
        return Config.read(self.path / "config.yaml")

    @property
    def logs(self) -> Path:
        """TensorBoard's folder."""
        return self.path / "logs"

    def write(self, name: str, content: bytes) -> None:
        """A file of that name is whole, whatever happens."""
        write_whole(self.path / name, content)

    # ------------------------------------------------------------------ what was learned

    def save_policy(self, model: BaseAlgorithm) -> None:
        """The policy's weights and the scale of its observations."""
        arrays = {f"policy.{name}": value.detach().cpu().numpy() for name, value in model.policy.state_dict().items()}
        self.write("policy.safetensors", save(_contiguous(arrays | _observation_scale(model.get_env()))))

    def load_policy(self, model: BaseAlgorithm) -> None:
        """Fill an untrained model. Raises UserError where the run saved none, or one of another shape."""
        arrays = self._arrays("policy.safetensors")
        weights = {name.removeprefix("policy."): torch.tensor(a) for name, a in arrays.items() if name.startswith("policy.")}
        try:
            model.policy.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(f"the policy in {str(self.path)!r} does not fit its env: {str(error).splitlines()[0]}") from None
        _restore_observation_scale(model.get_env(), arrays)

    def save_reward(self, state: Mapping[str, Array]) -> None:
        """The reward model, as `Learner.state` gives it, with the settings to load it by."""
        self.write("reward.safetensors", save(_contiguous(state), {"reward": self.config.reward.model_dump_json()}))

    def add_reward(self, state: Mapping[str, Array], settings: Reward, file: Path | None = None) -> Path:
        """Another reward model of the run, beside the trained one, with the settings to load it by. Gives its file.

        file: where to; without one, the first `reward-fit-N.safetensors` that is free
        Raises UserError where something lies there already.
        """
        place = file or next(path for n in count(1) if not (path := self.path / f"reward-fit-{n}.safetensors").exists())
        if place.exists():
            raise UserError(f"out is {str(place)!r}, which exists already; pass another --out FILE")
        try:
            RunFolder(place.parent).write(place.name, save(_contiguous(state), {"reward": settings.model_dump_json()}))
        except OSError as error:
            raise UserError(f"out is {str(place)!r}, which cannot be written: {error.strerror}; pass another FILE") from None
        return place

    def _arrays(self, name: str) -> dict[str, Array]:
        try:
            return load_file(self.path / name)
        except FileNotFoundError:
            raise UserError(
                f"{str(self.path)!r} holds no {name}: that run saved none; let it train to its end, or stop it with Ctrl-C"
            ) from None
        except SafetensorError as error:
            raise UserError(
                f"{str(self.path / name)!r} cannot be read ({error}); restore it from a backup of the run"
            ) from None

    # ------------------------------------------------------------------ labels

    def export_labels(self, store: Store, file: Path | None = None) -> int:
        """Every standing label as one JSON object a line, or as Parquet where the file is called so. Gives their number."""
        rows = list(label_rows(store))
        if file is not None and file.suffix == parquet.SUFFIX:
            return parquet.write_labels(rows, store.segment, file)
        text = "".join(json.dumps(row) + "\n" for row in rows).encode()
        if file is None:
            self.write("labels.jsonl", text)
        else:
            try:
                file.write_bytes(text)
            except OSError as error:
                raise UserError(f"the labels cannot be written to {str(file)!r}: {error.strerror}; pass another FILE") from None
        return len(rows)


def check_free(path: Path) -> None:
    """Raises UserError where a run would overwrite something."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"run is {str(path)!r}, which exists already; pass another --run DIR, or move that folder away")


def label_rows(store: Store) -> Iterator[dict[str, Any]]:
    """The standing labels as plain values: which segments, which is better, which steps of each were judged."""
    for label in store.standing_labels():
        yield _label_row(store, label)


def _label_row(store: Store, label: Label) -> dict[str, Any]:
    query = store.query(label.query_id)
    if query is None:
        raise UserError(f"label {label.id!r} answers query {label.query_id!r}, which is not in the store; restore a backup")
    return {
        "label_id": label.id,
        "query_id": query.id,
        "segments": [query.first, query.second],
        "verdict": label.answer.verdict.value,
        "preferred": label.answer.preferred,
        "trims": {segment: list(steps) for segment, steps in label.answer.trims.items()},
        "strength": label.answer.strength.value,
        "reason": label.answer.reason,
        "labeler": label.labeler,
        "source": label.source,
        "revision": label.revision,
        "created_at": label.created_at,
        "asked_at_step": query.asked_at,
        "strategy": query.strategy,
    }


def _contiguous(arrays: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.asarray(value, order="C") for name, value in arrays.items()}


def _normaliser(env: VecEnv | None) -> VecNormalize | None:
    while env is not None and not isinstance(env, VecNormalize):
        env = getattr(env, "venv", None)
    return env


def _scales(env: VecEnv | None) -> dict[str, RunningMeanStd]:
    """The running statistics of each part of the observation, by name ("" where it is one Box)."""
    norm = _normaliser(env)
    if norm is None or not norm.norm_obs:
        return {}
    return norm.obs_rms if isinstance(norm.obs_rms, dict) else {"": norm.obs_rms}


def _observation_scale(env: VecEnv | None) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for part, scale in _scales(env).items():
        arrays |= {
            f"scale.{part}.mean": scale.mean,
            f"scale.{part}.var": scale.var,
            f"scale.{part}.count": np.array(scale.count),
        }
    return arrays


def _restore_observation_scale(env: VecEnv | None, arrays: Mapping[str, Array]) -> None:
    for part, scale in _scales(env).items():
        scale.mean, scale.var = arrays[f"scale.{part}.mean"], arrays[f"scale.{part}.var"]
        scale.count = float(arrays[f"scale.{part}.count"].item())

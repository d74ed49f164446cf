"""What a Stable-Baselines3 model remembers between two rollouts, and its envs' running scales with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, cast

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from rltrainer.core import Array
from rltrainer.memory import Memory, within
from rltrainer.methods.cpl import CPL
from rltrainer.methods.replay import restore_transitions, transitions
from rltrainer.optimizers import optimizer_state, restore_optimizer

COUNTERS = ("num_timesteps", "_n_updates", "_episode_num", "_current_progress_remaining")


def remembered(model: BaseAlgorithm) -> Memory:
    """Weights, optimisers, scales, counters, and what off-policy methods replay. What is random begins anew: see `Barrier`."""
    modules, variables = model._get_torch_save_params()
    parts: dict[str, Mapping[str, Array]] = {name: _state(attrgetter(name)(model)) for name in modules}
    parts["variables"] = {name: _array(attrgetter(name)(model)) for name in variables}
    for name, scale in _scales(model.get_vec_normalize_env()).items():
        parts[f"scale.{name}"] = {"mean": scale.mean, "var": scale.var, "count": np.array(scale.count)}
    buffer = _replay(model)
    parts["replay"] = {} if buffer is None else transitions(buffer)
    parts["cpl"] = model.state() if isinstance(model, CPL) else {}
    facts = {name: getattr(model, name) for name in COUNTERS}
    episodes = [{name: float(value) for name, value in episode.items()} for episode in model.ep_info_buffer or ()]
    arrays = {f"{part}.{name}": array for part, state in parts.items() for name, array in state.items()}
    return Memory(arrays, {**facts, "episodes": episodes})


def recall(model: BaseAlgorithm, memory: Memory) -> None:
    """The inverse of `remembered`, for a model as it was made. Its envs are to be reset then."""
    modules, variables = model._get_torch_save_params()
    for name in modules:
        _restore(attrgetter(name)(model), within(memory.arrays, name))
    for name in variables:
        attrgetter(name)(model).data.copy_(torch.tensor(memory.arrays[f"variables.{name}"]))
    for name, scale in _scales(model.get_vec_normalize_env()).items():
        found = within(memory.arrays, f"scale.{name}")
        scale.mean, scale.var, scale.count = found["mean"], found["var"], float(found["count"])
    buffer = _replay(model)
    if buffer is not None:
        restore_transitions(buffer, within(memory.arrays, "replay"))
    if isinstance(model, CPL):
        model.restore(within(memory.arrays, "cpl"))
    for name in COUNTERS:
        setattr(model, name, memory.facts[name])
    model.ep_info_buffer = deque(memory.facts["episodes"], maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(maxlen=model._stats_window_size)  # SB3 makes both, or none


def begin_anew(model: BaseAlgorithm, seed: int) -> None:
    """Seed all that a model draws from, and its envs, and reset these."""
    model.set_random_seed(seed)
    env = model.get_env()
    assert env is not None  # it is being trained
    model._last_obs = cast(Any, env.reset())
    model._last_episode_starts = np.ones(env.num_envs, dtype=bool)
    scaled = model.get_vec_normalize_env()
    if scaled is not None:
        model._last_original_obs = cast(Any, scaled.get_original_obs())


def _array(tensor: torch.Tensor) -> Array:
    return np.asarray(tensor.detach().cpu().numpy())


def _state(part: torch.nn.Module | torch.optim.Optimizer) -> dict[str, Array]:
    if isinstance(part, torch.optim.Optimizer):
        return optimizer_state(part)
    return {name: _array(tensor) for name, tensor in part.state_dict().items()}


def _restore(part: torch.nn.Module | torch.optim.Optimizer, arrays: Mapping[str, Array]) -> None:
    if isinstance(part, torch.optim.Optimizer):
        restore_optimizer(part, arrays)
    else:
        part.load_state_dict({name: torch.tensor(arrays[name]) for name in part.state_dict()})


def _scales(env: VecNormalize | None) -> dict[str, RunningMeanStd]:
    """The running statistics of rewards, and of each part of the observation."""
    if env is None:
        return {}
    seen = env.obs_rms if env.norm_obs else {}
    parts = seen if isinstance(seen, dict) else {"": seen}
    return {"returns": env.ret_rms} | {f"observations.{name}": scale for name, scale in parts.items()}


def _replay(model: BaseAlgorithm) -> ReplayBuffer | None:
    return getattr(model, "replay_buffer", None)

"""What an optimiser remembers of the gradients so far, as named arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from rltrainer.core import Array


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Array]:
    """Copies of its moments, as `INDEX.NAME`; a parameter that got no gradient yet has none."""
    return {
        f"{index}.{name}": value.detach().cpu().numpy().copy()
        for index, parameter in enumerate(_parameters(optimizer))
        for name, value in optimizer.state[parameter].items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Array]) -> None:
    """The inverse of `optimizer_state`."""
    optimizer.state.clear()
    parameters = _parameters(optimizer)
    for place, value in state.items():
        index, _, name = place.partition(".")
        parameter = parameters[int(index)]
        optimizer.state[parameter][name] = torch.tensor(value, device=parameter.device)


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]

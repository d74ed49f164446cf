"""How sure F weights are: the inverse of a precision RᵀR + diag(α), by way of the smaller of two matrices.

R [N, F] has a row for each answer, α [F] is the prior's. With no fewer answers than weights the precision itself is factored,
and with fewer of them a matrix of the answers, as Woodbury's identity allows: for the posterior of Ant-v5's 537 weights with
100 labels that takes 0.03 s, and the other way 0.4.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rltrainer.core import Array


class Covariance(Protocol):
    """Σ = (RᵀR + diag(α))⁻¹, which is never made."""

    def times(self, columns: Tensor) -> Tensor:
        """Σ columns, [F, K], of columns [F, K]."""

    @property
    def determined(self) -> Tensor:
        """1 − αᵢ Σᵢᵢ, [F], from 0 to 1: how far the answers determine each weight."""

    def draws(self, count: int, rng: np.random.Generator) -> Array:
        """Of N(0, Σ), [count, F]."""


def covariance(rows: Tensor, precision: Tensor) -> Covariance:
    """R [N, F], α [F]."""
    return ByAnswers(rows, precision) if len(rows) < len(precision) else ByWeights(rows, precision)


class ByWeights:
    """L Lᵀ = RᵀR + diag(α)."""

    def __init__(self, rows: Tensor, precision: Tensor) -> None:
        self._precision = precision
        self._factor = torch.linalg.cholesky(_raised(rows.T @ rows, precision))

    def times(self, columns: Tensor) -> Tensor:
        return torch.cholesky_solve(columns, self._factor)

    @property
    def determined(self) -> Tensor:
        one = torch.eye(len(self._precision), dtype=torch.float64)
        root: Tensor = torch.linalg.solve_triangular(self._factor, one, upper=False)
        return 1 - self._precision * root.square().sum(dim=0)

    def draws(self, count: int, rng: np.random.Generator) -> Array:
        normal = torch.from_numpy(rng.standard_normal((len(self._precision), count)))
        return np.asarray(torch.linalg.solve_triangular(self._factor.T, normal, upper=True).T)


class ByAnswers:
    """Σ = diag(1/α) − (R/α)ᵀ (L Lᵀ)⁻¹ R/α, with L Lᵀ = 1 + R/α Rᵀ (Woodbury 1950)."""

    def __init__(self, rows: Tensor, precision: Tensor) -> None:
        self._rows, self._precision = rows, precision
        self._shrunk = rows / precision
        self._factor = torch.linalg.cholesky(_raised(self._shrunk @ rows.T, 1.0))

    def times(self, columns: Tensor) -> Tensor:
        alone = columns / self._precision[:, None]
        return alone - self._shrunk.T @ torch.cholesky_solve(self._rows @ alone, self._factor)

    @property
    def determined(self) -> Tensor:
        explained: Tensor = torch.linalg.solve_triangular(self._factor, self._shrunk, upper=False)
        return self._precision * explained.square().sum(dim=0)

    def draws(self, count: int, rng: np.random.Generator) -> Array:
        """A draw of the prior, corrected by what answers drawn of it would teach (Hoffman & Ribak 1991)."""
        answers, weights = (torch.from_numpy(rng.standard_normal((size, count))) for size in self._rows.shape)
        prior = weights / self._precision.sqrt()[:, None]
        taught = torch.cholesky_solve(self._rows @ prior + answers, self._factor)
        return np.asarray((prior - self._shrunk.T @ taught).T)


def _raised(matrix: Tensor, diagonal: Tensor | float) -> Tensor:
    """The matrix [K, K], with that much more on its diagonal [K]."""
    matrix.diagonal().add_(diagonal)
    return matrix

"""A run's labels and the steps that they are about in one Parquet file, for tools that know nothing of rltrainer.

Its columns are in docs/labels.md. pyarrow writes it, from the extra `parquet`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rltrainer.core import Segment, UserError

Row = Mapping[str, Any]

SUFFIX = ".parquet"
TEXTS = ("label_id", "query_id", "verdict", "preferred", "strength", "reason", "labeler", "source", "strategy")
COUNTS = ("revision", "asked_at_step")
STEPS = ("observations", "actions", "env_rewards", "after")
AT_ONCE = 64
"""Labels in memory with their steps."""


def write_labels(rows: Sequence[Row], segment: Callable[[str], Segment], file: Path) -> int:
    """Write label rows, and with each the steps of its two segments, which `segment(id)` gives. Gives their number.

    The file is whole, or the one before. Raises UserError where it cannot be written, or where pyarrow is missing.
    """
    arrow, parquet = _arrow()
    beside = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    schema = _schema(arrow)
    try:
        with parquet.ParquetWriter(beside, schema) as writer:
            for start in range(0, len(rows), AT_ONCE):
                some = [_with_steps(row, segment) for row in rows[start : start + AT_ONCE]]
                writer.write_table(arrow.Table.from_pylist(some, schema))
        beside.replace(file)
    except OSError as error:
        raise UserError(
            f"the labels cannot be written to {str(file)!r}: {error.strerror or error}; pass another FILE"
        ) from None
    finally:
        beside.unlink(missing_ok=True)
    return len(rows)


def read_labels(file: Path) -> list[dict[str, Any]]:
    """The label rows of such a file, without the steps. Raises UserError where it is none."""
    arrow, parquet = _arrow()
    try:
        names = parquet.read_schema(file).names
        rows = parquet.read_table(file, columns=[name for name in names if name not in STEPS]).to_pylist()
    except (OSError, arrow.ArrowException) as error:
        raise UserError(
            f"the labels cannot be read from {str(file)!r}: {error}; pass a file that `rltrainer export` wrote"
        ) from None
    return [row | {"trims": _by_segment(row)} for row in rows]


def _arrow() -> tuple[Any, Any]:
    """The library and its Parquet part, which are imported where they are needed only."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise UserError("Parquet needs a package that is not installed: pip install -e '.[parquet]'") from None
    return pa, parquet


def _schema(arrow: Any) -> Any:
    """Lists of two are in the order of `segments`."""
    whole, number, listed = arrow.int64(), arrow.float32(), arrow.list_
    return arrow.schema(
        [(name, arrow.string()) for name in TEXTS]
        + [(name, whole) for name in COUNTS]
        + [("created_at", arrow.float64()), ("segments", listed(arrow.string())), ("trims", listed(listed(whole)))]
        + [(name, listed(listed(listed(number)))) for name in ("observations", "actions")]
        + [("env_rewards", listed(listed(number))), ("after", listed(whole))]
    )


def _with_steps(row: Row, segment: Callable[[str], Segment]) -> dict[str, Any]:
    sides = [segment(name) for name in row["segments"]]
    return {
        **row,
        "trims": [row["trims"].get(name) for name in row["segments"]],
        "observations": [list(side.observations) for side in sides],
        "actions": [list(side.actions.reshape(len(side.actions), -1)) for side in sides],
        "env_rewards": [side.env_rewards for side in sides],
        "after": [side.after for side in sides],
    }


def _by_segment(row: Row) -> dict[str, Any]:
    """Trims as a line of JSON has them."""
    pairs = zip(row.get("segments") or (), row.get("trims") or (), strict=False)
    return {name: steps for name, steps in pairs if steps is not None}

"""Labels that come from elsewhere: out of a file of JSON lines, or from another run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rltrainer import parquet
from rltrainer.core import INHERITED, Answer, Label, Query, Range, Strength, UserError, Verdict
from rltrainer.sizes import Sizes
from rltrainer.store import Store

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]


class Line(BaseModel):
    """One label of an exported file (docs/labels.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    label_id: Text
    query_id: Text
    segments: tuple[Text, Text]
    verdict: Literal["prefer", "equal", "both_bad", "skip"]
    preferred: Text | None
    trims: dict[Text, Range]
    strength: Strength = Strength.PLAIN
    reason: str = ""
    labeler: Text
    source: Text
    revision: Count
    created_at: float
    asked_at_step: Count
    strategy: Text

    @property
    def query(self) -> Query:
        """The pair that was asked about."""
        return Query(self.query_id, *self.segments, self.asked_at_step, self.strategy)

    @property
    def label(self) -> Label:
        """What was answered. Raises ValueError where its parts contradict each other."""
        answer = Answer(Verdict(self.verdict), self.preferred, self.trims, self.strength, self.reason)
        return Label(
            self.label_id,
            self.query_id,
            self.labeler,
            answer,
            self.revision,
            created_at=self.created_at,
            source=self.source,
        )


def check_heritage(run: Path, sizes: Sizes) -> None:
    """Raises UserError where the labels of that run cannot be learned from in an env of these sizes."""
    try:
        old = Store.open(run)
    except UserError as error:
        raise UserError(f"labels_from: {error}") from None
    try:
        if not _teaching(old):
            raise UserError(f"labels_from is {str(run)!r}, which holds no labels to learn from; pass a run that was labelled")
        found = Sizes.stored(old)
    finally:
        old.close()
    if not found.teach(sizes):
        raise UserError(
            f"labels_from is {str(run)!r}, whose segments have {found}, and this env has {sizes}; "
            "pass a run of an env of the same sizes"
        )


def inherit(store: Store, run: Path) -> int:
    """Copy the standing labels of another run, with their ids, and their pairs. Gives how many are new.

    Their source becomes the run where they were given. Skipped pairs, which teach nothing, stay behind.
    """
    old = Store.open(run)
    try:
        source = f"{INHERITED}{old.fact('run')}"
        labels = _teaching(old)
        queries = [query for label in labels if (query := old.query(label.query_id)) is not None]
        store.keep(old.segment(name) for query in queries for name in (query.first, query.second))
        return store.admit(queries, [label if label.inherited else replace(label, source=source) for label in labels])
    finally:
        old.close()


def _teaching(store: Store) -> list[Label]:
    """What stands now, without the skipped pairs."""
    return [label for label in store.standing_labels() if label.answer.verdict is not Verdict.SKIP]


def import_labels(store: Store, file: Path) -> tuple[int, int]:
    """Take the labels of an exported file into the store of the run that they are about. Gives (labels, new ones).

    Raises UserError, with nothing taken, where a line is no label, or is about segments that the store lacks.
    """
    lines = read_lines(file)
    lacking = store.lacking({segment for line in lines for segment in line.segments})
    foreign = sum(not lacking.isdisjoint(line.segments) for line in lines)
    if foreign:
        raise UserError(
            f"{str(file)!r} holds {foreign} labels about segments that {str(store.folder)!r} lacks; "
            "import them into the run that they were given in, or into a copy of it"
        )
    try:
        return len(lines), store.admit([line.query for line in lines], [line.label for line in lines])
    except ValueError as error:
        raise UserError(f"{str(file)!r} cannot be imported: {error}; export it again") from None


def read_lines(file: Path) -> list[Line]:
    """The labels of an exported file. Raises UserError with the line that is none."""
    if file.suffix == parquet.SUFFIX:
        return [_line(row, f"{str(file)!r}, row {number}") for number, row in enumerate(parquet.read_labels(file), 1)]
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"the labels cannot be read from {str(file)!r}: {error.strerror}; pass another FILE") from None
    except UnicodeDecodeError:
        raise UserError(f"{str(file)!r} is not UTF-8 text; pass a file that `rltrainer export` wrote") from None
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    return [_line(_parsed(line, where), where) for number, line in lines for where in [f"{str(file)!r}, line {number}"]]


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"{where} is not JSON; pass a file that `rltrainer export` wrote") from None


def _line(row: Any, where: str) -> Line:
    """Raises UserError with the line's number."""
    try:
        return Line.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        found = f"{where}: {name or 'it'} is no part of a label" + f": {first['msg'][0].lower()}{first['msg'][1:]}"
        raise UserError(f"{found}; pass a file that `rltrainer export` wrote") from None

"""Mode "watch": an oracle answers, and pages see what it chose."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rltrainer.core import Label
from rltrainer.labeling.effects import Effect, SendPair
from rltrainer.labeling.messages import AnswerHeader, PairHeader
from rltrainer.labeling.shelf import Shelf

WATCH_SECONDS = 3.0


class Watch:
    """The newest answer on every page, at most one in WATCH_SECONDS. Nothing is rendered for nobody.

    newest: what came last and nobody has seen
    """

    def __init__(self) -> None:
        self.newest: Label | None = None
        self._choice: Label | None = None  # whose clips are being made
        self._shown: tuple[PairHeader, tuple[bytes, bytes]] | None = None
        self._shown_at = -math.inf

    def show(self, shelf: Shelf, pages: Sequence[int], now: float) -> list[Effect]:
        """What goes on screen now, if anything."""
        if pages and self._choice is None and now >= self._shown_at + WATCH_SECONDS:
            self._choice, self.newest = self.newest, None
        pair = shelf.get(self._choice.query_id) if self._choice else None
        if pair is None or self._choice is None:
            return []
        label, self._choice = self._choice, None
        verdict, preferred = label.answer.verdict, label.answer.preferred
        answer = AnswerHeader(verdict=verdict, preferred=preferred, labeler=label.labeler)
        self._shown = (pair.header.model_copy(update={"answer": answer}), pair.videos)
        self._shown_at = now
        return self.on_screen(pages)

    def on_screen(self, pages: Sequence[int]) -> list[Effect]:
        """What was shown last, for these pages."""
        return [SendPair(page, *self._shown) for page in pages] if self._shown else []

    def preparing(self) -> list[str]:
        """The pair whose clips are wanted."""
        return [self._choice.query_id] if self._choice else []

    def give_up(self, query_id: str) -> None:
        """Its clips cannot be made."""
        if query_id in self.preparing():
            self._choice = None

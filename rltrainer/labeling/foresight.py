"""What the reward predicts of pairs, told to the pages that have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rltrainer.core import Forecast
from rltrainer.labeling.dealing import Seat
from rltrainer.labeling.effects import Effect, Pair, Send
from rltrainer.labeling.messages import Predicted
from rltrainer.labeling.shelf import Shelf, steps_at


class Foresight:
    """The trainer's newest forecast. Of each a page is told once, of the pairs that it is to answer."""

    def __init__(self) -> None:
        self.newest = Forecast(0, {})

    def tell(self, seats: Mapping[int, Seat], shelf: Shelf) -> Iterable[Effect]:
        """What pages have not been told yet of pairs that they hold and have on hand."""
        for page, seat in seats.items():
            untold = [name for name in seat.held if seat.pushed.get(name, self.newest.seq) != self.newest.seq]
            for query_id in untold:
                pair = shelf.get(query_id)
                message = self._of(pair) if pair else None
                if message:
                    seat.pushed[query_id] = self.newest.seq
                    yield Send(page, message)

    def _of(self, pair: Pair) -> Predicted | None:
        """None where the forecast is of other pairs."""
        rewards = self.newest.rewards
        clips = pair.header.clips
        if not all(clip.segment_id in rewards for clip in clips):
            return None
        frames = {clip.segment_id: by_frame(rewards[clip.segment_id], clip.frames) for clip in clips}
        return Predicted(query_id=pair.header.query_id, version=self.newest.version, rewards=frames)


def by_frame(rewards: Sequence[float], frames: int) -> list[float]:
    """Rewards of steps, [T], as those of the frames that show them, [frames]."""
    return [rewards[step] for step in steps_at(frames, len(rewards))]

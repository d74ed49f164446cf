"""Speed of the reward learners beside imitation's ensemble: ms of a refit, comparisons a second, ms to choose pairs. CPU time.

The same labelled segments of HalfCheetah-v5 for all, one thread, in turns. What is timed is what a training calls: a refit of
ours (`fit`, with its scaling, held-out accuracy and all) and imitation's `EnsembleTrainer.train`; a batch of ten pairs cut,
scored by disagreement and chosen from a hundred, ours as the loop asks for it, theirs by `ActiveSelectionFragmenter`.

"ours" is the default, `bayes`. It has no passes over the comparisons that could be counted, so that its refit's time stands
beside the time of imitation's training. "our nets" is `ensemble`, three nets of the same inputs and sizes as imitation's; a
comparison counts once when all three have learned from it. A gradient step of ours reads ten steps of each segment, one out of
each tenth of it (`rewards/ensemble.py`), one of imitation's all of them.

imitation has to be installed beside rltrainer: benchmarks/peers.py says how.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks import reporting
from benchmarks.imitated import EPOCHS
from rltrainer.config import Queries, Reward
from rltrainer.core import Comparison, Segment
from rltrainer.envs import make_env
from rltrainer.queries import disagreement
from rltrainer.recording import Recorder
from rltrainer.rewards import make_learner
from rltrainer.sizes import Sizes

ENV = "HalfCheetah-v5"
EPISODE = 1000
EPISODES = 16
LENGTHS = (50, 100)
REFERENCE = 64
PAIRS = 10
FITS = 5
"""Refits of ours in one turn: one alone is over in a few hundredths of a second."""
TARGET = 12.0
OURS, NETS, THEIRS = "ours", "our nets", "imitation's"


@dataclass
class Clock:
    """CPU seconds of what was done, turn by turn."""

    seconds: list[float] = field(default_factory=list)

    def time(self, work: Callable[[], object]) -> None:
        """Do it, and note what it took."""
        began = time.process_time()
        work()
        self.seconds.append(time.process_time() - began)


class Steps:
    """Whole episodes of random actions, as ours and as imitation keep them."""

    def __init__(self) -> None:
        env = make_env(ENV)
        env.action_space.seed(0)
        self.observation_space, self.action_space = env.observation_space, env.action_space
        first, info = env.reset(seed=0)
        self.size = len(first)
        self.recorder = Recorder(1, first, env.action_space, EPISODES * EPISODE, EPISODE)
        self.episodes: list[Segment] = []
        for _ in range(EPISODES):
            self.recorder.begin(0, info["episode_seed"], first)
            over = False
            while not over:
                action = env.action_space.sample()
                observation, reward, terminated, over, _ = env.step(action)
                self.recorder.add_to(0, action, float(reward), observation)
            self.recorder.end(0, terminated=bool(terminated), truncated=over)
            self.episodes.append(self.recorder.last_episode(0))
            first, info = env.reset()
        env.close()

    def comparisons(self, count: int, length: int) -> list[Comparison]:
        """Pairs of segments, the one of the higher true return the better."""
        segments = self.recorder.sample(2 * count, length, np.random.default_rng(1))
        pairs = zip(segments[::2], segments[1::2], strict=True)
        return [Comparison(a, b, float(a.env_return > b.env_return), a.whole, b.whole) for a, b in pairs]


class Ours:
    """A learner of rltrainer's and its queries, at the defaults."""

    def __init__(self, steps: Steps, comparisons: list[Comparison], length: int, name: str) -> None:
        """name: as in `reward.learner`"""
        self._steps, self._comparisons, self._length = steps, comparisons, length
        self._rng = np.random.default_rng(2)
        self._settings = Reward(learner=name)
        sizes = Sizes.of(steps.size, steps.action_space)
        self._learner = make_learner(sizes, self._settings, np.random.SeedSequence(0))
        self._reference = steps.recorder.sample(REFERENCE, length, self._rng)
        self.learn()  # the first refit takes longer, as imitation's does

    @property
    def comparisons_in_a_turn(self) -> int:
        """That a turn of `learn` learns from, where it takes gradient steps."""
        return FITS * self._settings.fit_steps * self._settings.batch

    @property
    def refits_in_a_turn(self) -> int:
        return FITS

    def learn(self) -> None:
        for _ in range(FITS):
            self._learner.fit(self._comparisons, self._reference)

    def choose(self) -> None:
        cut = self._steps.recorder.sample(2 * PAIRS * Queries().candidates, self._length, self._rng)
        candidates = list({segment.id: segment for segment in cut}.values())
        disagreement(candidates, self._learner, PAIRS, self._rng)


class Theirs:
    """imitation's ensemble, its trainer and its active selection, as its command line has them but for the nets' sizes."""

    def __init__(self, steps: Steps, comparisons: list[Comparison], length: int, folder: str) -> None:
        """folder: where its logger makes folders of its own"""
        from imitation.algorithms import preference_comparisons as pc
        from imitation.data.types import TrajectoryWithRew
        from imitation.rewards.reward_nets import BasicRewardNet, NormalizedRewardNet, RewardEnsemble
        from imitation.util.logger import configure
        from imitation.util.networks import RunningNorm

        def trajectory(segment: Segment) -> Any:
            return TrajectoryWithRew(segment.observations, segment.actions, None, segment.truncated, segment.env_rewards)

        def net() -> Any:
            settings = Reward()
            spaces = steps.observation_space, steps.action_space
            inside = {"use_next_state": True, "hid_sizes": settings.hidden, "normalize_input_layer": RunningNorm}
            return NormalizedRewardNet(BasicRewardNet(*spaces, **inside), RunningNorm)

        rng = np.random.default_rng(2)
        told = {"custom_logger": configure(folder, [])}
        members = [net() for _ in range(Reward().members)]
        model = pc.PreferenceModel(RewardEnsemble(steps.observation_space, steps.action_space, members))
        self._dataset = pc.PreferenceDataset()
        pairs = [(trajectory(c.first), trajectory(c.second)) for c in comparisons]
        self._dataset.push(pairs, np.array([c.target for c in comparisons], np.float32))
        self._trainer = pc.EnsembleTrainer(model, pc.CrossEntropyRewardLoss(), rng, epochs=EPOCHS, **told)
        cutter = pc.RandomFragmenter(rng, warning_threshold=0, **told)
        self._chooser = pc.ActiveSelectionFragmenter(model, cutter, Queries().candidates, "probability", **told)
        self._episodes = [trajectory(episode) for episode in steps.episodes]
        self._length = length
        self.learn()

    @property
    def comparisons_in_a_turn(self) -> int:
        """That a turn of `learn` learns from."""
        return EPOCHS * len(self._dataset)

    @property
    def refits_in_a_turn(self) -> int:
        return 1

    def learn(self) -> None:
        self._trainer.train(self._dataset)

    def choose(self) -> None:
        self._chooser(self._episodes, self._length, PAIRS)


def measured(steps: Steps, labels: int, length: int, turns: int, folder: str) -> dict[str, Any]:
    """CPU seconds of every turn, by what was done and by whom."""
    comparisons = steps.comparisons(labels, length)
    sides: dict[str, Ours | Theirs] = {
        OURS: Ours(steps, comparisons, length, "bayes"),
        NETS: Ours(steps, comparisons, length, "ensemble"),
        THEIRS: Theirs(steps, comparisons, length, folder),
    }
    clocks = {(name, what): Clock() for name in sides for what in ("learn", "choose")}
    for turn in range(turns):
        for name in sorted(sides, reverse=turn % 2 == 1):  # each is first as often as the other
            clocks[name, "learn"].time(sides[name].learn)
            clocks[name, "choose"].time(sides[name].choose)
    return {
        "length": length,
        "labels": labels,
        **{
            name: {
                "comparisons_in_a_turn": side.comparisons_in_a_turn,
                "refits_in_a_turn": side.refits_in_a_turn,
                **{what: [round(s, 5) for s in clocks[name, what].seconds] for what in ("learn", "choose")},
            }
            for name, side in sides.items()
        },
    }


def figures_of(raw: dict[str, Any]) -> dict[str, float]:
    """The medians over the turns, and of quotients turn by turn."""
    refits, batches = {}, {}
    for name in (OURS, NETS, THEIRS):
        refits[name] = [1000 * seconds / raw[name]["refits_in_a_turn"] for seconds in raw[name]["learn"]]
        batches[name] = [1000 * seconds for seconds in raw[name]["choose"]]
    where = f"length {raw['length']}, {raw['labels']} labels"
    quicker = _quotients(refits[THEIRS], refits[OURS])
    rates = {name: [raw[name]["comparisons_in_a_turn"] / s for s in raw[name]["learn"]] for name in (NETS, THEIRS)}
    ratios = _quotients(rates[NETS], rates[THEIRS])
    return {
        **{f"{where}: {name} CPU ms a refit": median(refit) for name, refit in refits.items()},
        f"{where}: a refit, times quicker": median(quicker),
        f"{where}: a refit, times quicker, least of the turns": min(quicker),
        **{f"{where}: {name} comparisons a CPU second": median(rate) for name, rate in rates.items()},
        f"{where}: our nets over imitation's": median(ratios),
        f"{where}: our nets over imitation's, least of the turns": min(ratios),
        **{f"{where}: {name} CPU ms a batch of {PAIRS} queries": median(batch) for name, batch in batches.items()},
        f"{where}: a batch of queries, times quicker": median(_quotients(batches[THEIRS], batches[OURS])),
    }


def _quotients(above: list[float], below: list[float]) -> list[float]:
    return [one / other for one, other in zip(above, below, strict=True)]


def main() -> None:
    """The command."""
    options = reporting.flags(__doc__)
    options.add_argument("--labels", nargs="+", type=int, metavar="N", default=[100, 700], help="how many are learned from")
    options.add_argument("--turns", type=int, default=20, help="of each, for each length and number of labels")
    chosen = options.parse_args()
    if chosen.quick:
        chosen.labels, chosen.turns = [100], 4
    reporting.require_imitation()
    torch.set_num_threads(1)
    steps = Steps()
    with TemporaryDirectory() as folder:
        raw = [measured(steps, labels, length, chosen.turns, folder) for labels in chosen.labels for length in LENGTHS]
    figures = {name: value for one in raw for name, value in figures_of(one).items()}
    reporting.write(chosen.json, {**figures, "target: times quicker": TARGET}, raw)


if __name__ == "__main__":
    reporting.run(main)

"""The main job: one run, from a config to a folder."""

from __future__ import annotations

import shlex
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from itertools import islice
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no types

from rltrainer.asking import without_reward
from rltrainer.capture import Filmed, must_film
from rltrainer.checkpoint import RunFolder, check_free
from rltrainer.checkpoints import Checkpoints
from rltrainer.config import Config
from rltrainer.core import EnvFault, UserError
from rltrainer.envs import check_spaces, episode_limit, frames_per_second, image_shape, make_env, make_shown_env, shows_pictures
from rltrainer.fancy import is_black_box_id
from rltrainer.guard import GuardedVecEnv
from rltrainer.interrupts import Asked, Interrupts, ignore_in_subprocess
from rltrainer.labeling.gate import check_address
from rltrainer.labeling.gl import use_gl
from rltrainer.labeling.process import LabelService
from rltrainer.labels import check_heritage
from rltrainer.lengths import segment_steps
from rltrainer.lock import RunLock
from rltrainer.logs import Curves
from rltrainer.loop import NOTHING_FITS, PreferenceLoop, Progress
from rltrainer.methods import METHODS, Barrier, DirectCallback, PreferenceCallback, RelabellingCallback
from rltrainer.methods.barrier import interval
from rltrainer.methods.cpl import CPL, check_cpl
from rltrainer.methods.ppo import rollout_steps
from rltrainer.methods.sac import check_sac
from rltrainer.methods.spaces import check_policy_spaces
from rltrainer.progress import Dashboard
from rltrainer.queries import STRATEGIES
from rltrainer.rewards import LEARNERS
from rltrainer.seams import named
from rltrainer.seeds import Seeds, number
from rltrainer.sizes import Sizes
from rltrainer.store import Store
from rltrainer.terse import Terse
from rltrainer.watchdog import WatchedVecEnv
from rltrainer.wrapper import PreferenceRewardVecWrapper

EVENT_SECONDS = 1.0
ENDLESS = 1_000_000
"""Steps after which an episode that is evaluated is taken to have no end."""
UPDATE_STEPS = 512
"""Env steps at most between two updates of the loop where a method's own rollouts are too short to end with one."""
SPEED_ROLLOUTS = 20
"""Steps per second are those of the last rollouts, their optimisation included."""


def train(config: Config, path: Path, dashboard: Dashboard, announce: Callable[[str], None]) -> RunFolder:
    """Train as the config says, into a new run folder. Ctrl-C ends it early and keeps everything.

    announce: told the labeler's URL
    Raises UserError for what the user can mend, before anything is written where that is possible.
    """
    config = resolved(config, path)
    film = _films(config, dashboard)
    folder = RunFolder.create(path, config)
    dashboard.say(f"Run folder: {path}")
    with RunLock(path):
        _train(folder, dashboard, announce, film=film)
    return folder


def resume(path: Path, dashboard: Dashboard, announce: Callable[[str], None], config: Config | None = None) -> RunFolder:
    """Go on with a run from its newest checkpoint, as if it had never ended. Raises UserError.

    config: its own one, with another address in it, where the page is to be served there from now on
    """
    folder = RunFolder.open(path)
    config = config or folder.config
    _check_unfinished(path)
    with RunLock(path):
        if shows_page(config):
            check_address(config.labeling.host, config.labeling.port)
        if config != folder.config:
            folder.write("config.yaml", config.dump().encode())
        _train(folder, dashboard, announce, film=_films(config, dashboard))
    return folder


def _check_unfinished(path: Path) -> None:
    """Raises UserError where a run has come to its end: to go on from a checkpoint would overwrite what it learned since."""
    if not Store.lies_in(path):
        return
    with closing(Store.open(path)) as store:
        saved = store.newest_event("saved") or {}
    if saved.get("phase") == "finished":
        raise UserError(
            f"resume is {str(path)!r}, which has finished: see it with rltrainer enjoy {path}, or train on from its labels "
            f"with --labels-from {path}"
        )


def _train(folder: RunFolder, dashboard: Dashboard, announce: Callable[[str], None], *, film: bool) -> None:
    """From the run's newest checkpoint, or from its start where there is none yet, to its end."""
    torch.set_num_threads(1)  # 5 to 15 times quicker on nets as small as these, and so for NumPy
    threadpool_limits(1)
    config, path = folder.config, folder.path
    with Interrupts() as interrupts, closing(Run(config, folder, dashboard, interrupts, film=film)) as run:
        run.take_up()
        try:
            if shows_page(config):
                run.open_page(announce)
            run.learn()
        except EnvFault as fault:
            raise EnvFault(f"{fault}; all that was learned before is saved in {path}") from fault
        finally:
            run.save()


def _films(config: Config, dashboard: Dashboard) -> bool:
    """Whether an env is filmed as it steps, because clips are wanted and cannot be made afterwards."""
    return config.learns_reward and shows_page(config) and must_film(config, dashboard.say)


def resolved(config: Config, path: Path) -> Config:
    """The config with what it leaves open filled in for its env, after all that can be refused before a folder is made.

    Raises UserError.
    """
    check_free(path)
    named(METHODS, config.method, "method")
    env = make_env(config.env, config.env_options)
    env.close()
    check_spaces(env.observation_space, env.action_space)
    check_policy_spaces(env.observation_space, env.action_space)
    if config.method == "sac":
        check_sac(config, env.observation_space, env.action_space)
    if config.method == "cpl":
        check_cpl(config)
    if not config.models_reward:
        config = without_reward(config)
    settings: dict[str, Any] = {"ppo.n_steps": rollout_steps(config)}
    if not config.learns_reward:
        if config.labeling.page == "on":
            raise UserError("labeling.page is on, and with labeler none there is nothing to label; leave it at auto")
        return config.but(settings)
    if config.reward.learner is not None:
        named(LEARNERS, config.reward.learner, "reward.learner")
    named(STRATEGIES, config.queries.strategy, "queries.strategy")
    seen, done = env.get_wrapper_attr("recorded_observation_space"), env.get_wrapper_attr("recorded_action_space")
    check_spaces(seen, done)
    if config.labels_from is not None:
        check_heritage(Path(config.labels_from), Sizes.of(gym.spaces.flatdim(seen), done, image_shape(seen)))
    settings["segments.steps"] = segment_steps(config, episode_limit(env), frames_per_second(env))
    _check_steps(config, 2 * settings["segments.steps"] * config.n_envs)
    if shows_page(config):
        check_address(config.labeling.host, config.labeling.port)
        reason = shows_pictures(config.env, config.env_options)
        if reason is not None:
            raise UserError(reason)
    return config.but(settings)


def _check_steps(config: Config, least: int) -> None:
    """least: env steps of the random warm-up"""
    if config.steps < least and not is_black_box_id(config.env):
        raise UserError(f"steps is {config.steps}, and the random warm-up alone takes {least}; set more steps, or fewer n_envs")
    if config.method == "sac" and config.steps <= least + config.sac.exploration_steps:
        raise UserError(
            f"steps is {config.steps}, and the warm-up and sac.exploration_steps ({config.sac.exploration_steps}) leave "
            "none to learn in; set more steps, or fewer sac.exploration_steps"
        )


def shows_page(config: Config) -> bool:
    """Whether the label service runs beside the training."""
    return config.labeling.page == "on" or (config.labeling.page == "auto" and config.labeler == "browser")


class Run:
    """The parts of one run while it lasts."""

    def __init__(
        self, config: Config, folder: RunFolder, dashboard: Dashboard, interrupts: Interrupts, *, film: bool = False
    ) -> None:
        self.config, self.folder, self.dashboard, self.interrupts = config, folder, dashboard, interrupts
        self.service: LabelService | None = None
        self.loop: PreferenceLoop | None = None
        self.callback: PreferenceCallback | None = None
        self._told_at = 0.0
        self._full = self._taken_up = self._starved = False
        self._watcher: RolloutWatch | None = None
        seeds = Seeds.of(config.seed)
        venv = make_vec_env(
            config,
            number(seeds.envs),
            film=film,
            checked=not config.learns_reward,
            say=dashboard.say,
            meanwhile=interrupts.check,
        )
        if config.learns_reward:
            venv = PreferenceRewardVecWrapper(venv, config.segments.recent_steps)
            self.loop = PreferenceLoop(
                venv,
                config,
                run=folder.path,
                watch=self._watch,
                update_every=max(1, min(UPDATE_STEPS, config.steps // 10)),  # one is left once all labels are due
                learn_reward=config.models_reward,
            )
        self.model: BaseAlgorithm = named(METHODS, config.method, "method")(
            normalised(venv, config), config, number(seeds.policy)
        )
        if self.loop is not None:
            self.callback = callback_for(self.model)(self.loop)
        self.model.set_logger(Logger(str(folder.logs), [Curves(folder.logs)]))
        self.checkpoints = Checkpoints(folder.path)
        limit = 1 if is_black_box_id(config.env) else venv.get_attr("recorded_episode_limit", 0)[0] or 0
        apart = partial(interval, step_seconds=quickest_step(config, self.model), episodes_steps=config.n_envs * limit)
        self.barrier = Barrier(self.model, self.callback, self.checkpoints, seeds.barriers, apart, dashboard.say)

    def take_up(self) -> None:
        """Go on from the newest checkpoint, where there is one."""
        checkpoint = self.checkpoints.newest(self.dashboard.say)
        self.barrier.take_up(checkpoint)
        self._taken_up = checkpoint is not None
        if checkpoint is not None:
            step, steps = self.model.num_timesteps, self.config.steps
            message = f"Goes on from checkpoint {checkpoint.number}, at step {step:,} of {steps:,}"
            self.dashboard.say(message)
            self._tell({"phase": "starting", "message": f"{message}.", "step": step, "steps": steps}, at_once=True)
        elif self.config.labels_from is not None and self.loop is not None:
            self.dashboard.say(f"Learns first from the labels of {self.loop.inherited} pairs in {self.config.labels_from}")

    def open_page(self, announce: Callable[[str], None]) -> None:
        """Start the label service and say where it is."""
        labeling = self.config.labeling
        self.service = LabelService(self.folder.path, labeling.host, labeling.port)
        announce(self.service.url)

    def learn(self) -> None:
        """The one `learn` of the run: schedules are never started twice."""
        self._watcher = RolloutWatch(self._tell, self.service, self.interrupts)
        callbacks: list[BaseCallback] = [self._watcher]
        if self.callback is not None:
            callbacks.append(self.callback)
        callbacks.append(self.barrier)
        left = self.config.steps - self.model.num_timesteps
        with self._stopped():
            self.model.learn(left, callback=CallbackList(callbacks), reset_num_timesteps=not self._taken_up)
            path = self.folder.path
            take = f"Take its labels with you: rltrainer export {path} FILE.jsonl"
            self._finish("finished", f"See what was learned: rltrainer enjoy {path}\n{take}{self._cut_short()}")

    def _cut_short(self) -> str:
        """What whoever labelled may read at the end: the env steps were over before the labels were given."""
        labels = self.loop.store.counts()["labels"] if self.loop is not None else 0
        if self.config.labeler != "browser" or not 0 < labels < self.config.labels:
            return ""
        path = shlex.quote(str(self.folder.path))
        longer = f"rltrainer train --config {path}/config.yaml --labels-from {path} --steps {4 * self.config.steps}"
        return f"\nIt ended after {labels} of {self.config.labels} labels. A longer run that begins with them: {longer}"

    @contextmanager
    def _stopped(self) -> Iterator[None]:
        """Ctrl-C ends the training, not the program.

        A run that people label goes on from there. One with an oracle goes on from its last checkpoint: to reset the envs
        here would make it another run than the one that was never stopped.
        """
        try:
            yield
        except KeyboardInterrupt as asked:
            self.dashboard.say("Stopping: saving the run …")
            if isinstance(asked, Asked) and self.config.labeler == "browser":
                self.barrier.stop()

    def save(self) -> None:
        """Everything that was learned, to the run folder. Raises UserError where the disk takes no more; checkpoints stay."""
        try:
            self._save()
        except OSError as error:
            raise UserError(
                f"run {str(self.folder.path)!r} could not be saved whole, the disk takes no more ({error.strerror}); make room "
                f"and go on from the last checkpoint: rltrainer train --resume {self.folder.path}"
            ) from error

    def _save(self) -> None:
        self.folder.save_policy(self.model)
        if self.loop is not None:
            if self.loop.phase != "finished":
                self._finish("stopped", f"What was learned is kept; go on with rltrainer train --resume {self.folder.path}")
            if self.loop.learns_reward:
                self.folder.save_reward(self.loop.learner.state())
            self.folder.export_labels(self.loop.store)
            self.loop.store.log("saved", phase=self.loop.phase)

    def close(self) -> None:
        """Leave nothing behind that runs."""
        if self.loop is not None:
            self.loop.close()
        self.model.logger.close()
        env_of(self.model).close()
        if self.service is not None:
            self.service.stop()
        self.dashboard.close()

    def _finish(self, phase: str, message: str) -> None:
        if self.loop is not None:
            self.loop.phase = phase
            taken = max(self.loop.steps, self.model.num_timesteps)  # the warm-up's steps are the loop's at first
            facts = {"phase": phase, "message": message, "step": taken, "steps": self.config.steps}
            self._tell(facts | self._rested(), at_once=True)

    def _watch(self, progress: Progress) -> None:
        """The loop's news: in the warm-up, and while a run is paused, there are no rollouts that would tell."""
        if progress.phase in ("warmup", "paused"):
            self.interrupts.check()
            if self.service is not None:
                self.service.ensure()
            self._tell(asdict(progress) | self._rested())

    def _rested(self) -> dict[str, Any]:
        return self._watcher.rested() if self._watcher is not None else {}

    def _tell(self, facts: dict[str, Any], *, at_once: bool = False) -> None:
        """To the terminal, and into the store for the page."""
        if self.loop is not None:
            facts = asdict(self.loop.progress()) | facts
            now = time.monotonic()
            if at_once or now - self._told_at >= EVENT_SECONDS:
                self._log(self.loop.store, facts)
                self._told_at = now
            if facts["message"] == NOTHING_FITS and not self._starved:
                self._starved = True
                self.dashboard.say(NOTHING_FITS)
        self.dashboard.show(facts)

    def _log(self, store: Store, facts: dict[str, Any]) -> None:
        """To the store. That the disk is full is told at the terminal, once, and so is that there is room again."""
        try:
            store.log("progress", **facts)
        except OSError as error:
            if not self._full:
                why = f"The disk takes no more ({error.strerror})"
                self.dashboard.say(f"{why}. Training goes on; nothing is asked, and no label saved, until there is room")
            self._full = True
            return
        if self._full:
            self.dashboard.say("There is room on the disk again")
        self._full = False


class RolloutWatch(BaseCallback):
    """Tells steps per second and the true return at each rollout's end; between two steps a run can be interrupted."""

    def __init__(self, tell: Callable[[dict[str, Any]], None], service: LabelService | None, interrupts: Interrupts) -> None:
        super().__init__()
        self._tell, self._service, self._interrupts = tell, service, interrupts
        self._rollout_ends: deque[tuple[float, int]] = deque(maxlen=SPEED_ROLLOUTS)

    def rested(self) -> dict[str, Any]:
        """Time went by in which nothing was done: speed is counted anew. Gives what holds in the meantime."""
        self._rollout_ends.clear()
        return {"true_return": self._true_return()}

    def _true_return(self) -> float | None:
        model: BaseAlgorithm | None = getattr(self, "model", None)  # it is given once the first reset is over
        episodes = (model.ep_info_buffer if model is not None else None) or ()
        return float(np.mean([episode["r"] for episode in episodes])) if episodes else None

    def _on_step(self) -> bool:
        self._interrupts.check()
        return True

    def _on_rollout_end(self) -> None:
        self._rollout_ends.append((time.monotonic(), self.model.num_timesteps))
        seconds, steps = (np.array(self._rollout_ends[-1]) - self._rollout_ends[0]).tolist()
        envs = self.training_env.unwrapped
        if isinstance(envs, WatchedVecEnv):
            self.logger.record("envs/replaced", int(envs.restarts.sum()))
        if self._service is not None:
            self._service.ensure()
        self._tell(
            {
                "phase": "training",
                "step": self.model.num_timesteps,
                "steps": self.model._total_timesteps,
                "steps_per_second": steps / seconds if steps else None,
                "true_return": self._true_return(),
            }
        )


def quickest_step(config: Config, model: BaseAlgorithm) -> float:
    """Seconds that an env step takes at least, what is learned from it included: the speed of a run decides nothing in it."""
    if is_black_box_id(config.env):
        return 1e-2
    pictures = isinstance(model.observation_space, gym.spaces.Box) and is_image_space(model.observation_space)
    return 1e-3 if pictures or isinstance(model, OffPolicyAlgorithm) else 1e-4


def callback_for(model: BaseAlgorithm) -> type[PreferenceCallback]:
    """What ties a model of that kind to the loop."""
    if isinstance(model, OffPolicyAlgorithm):
        return RelabellingCallback
    return DirectCallback if isinstance(model, CPL) else PreferenceCallback


# ------------------------------------------------------------------ the envs of a run


def make_vec_env(
    config: Config,
    seed: int,
    *,
    film: bool = False,
    checked: bool = True,
    say: Callable[[str], None] = lambda line: None,
    meanwhile: Callable[[], None] = lambda: None,
) -> VecEnv:
    """The run's envs, each with a Monitor inside, so that `ep_rew_mean` is the true return.

    film:    the first of them takes pictures as it steps, and segments are cut from that one only
    checked: what they give is checked to be finite; a PreferenceRewardVecWrapper does that itself
    say, meanwhile: for a WatchedVecEnv, where each env has a process of its own
    """
    plain = EnvMaker(config.env, config.env_options)
    first = EnvMaker(config.env, config.env_options, config.clips.size) if film else plain
    makers = [first, *[plain] * (config.n_envs - 1)]
    venv: VecEnv = WatchedVecEnv(makers, say, meanwhile) if config.subprocesses else DummyVecEnv(list(makers))
    venv.seed(seed)
    return GuardedVecEnv(venv, checked=checked)


class EnvMaker:
    """Makes one monitored env; plain data, so that a subprocess can be handed it."""

    def __init__(self, env: str, options: dict[str, Any], filmed_at: int | None = None) -> None:
        """filmed_at: size in pixels of the pictures that it takes of itself, if it does"""
        self._env, self._options, self._filmed_at = env, options, filmed_at

    def __call__(self) -> gym.Env[Any, Any]:
        if parent_process() is not None:
            ignore_in_subprocess()
        if self._filmed_at is None:
            return Monitor(Terse(make_env(self._env, self._options)))
        use_gl()
        return Monitor(Terse(Filmed(make_shown_env(self._env, self._options, self._filmed_at), self._filmed_at)))


def normalised(venv: VecEnv, config: Config, *, training: bool = True) -> VecNormalize:
    """Running scales around the rewarded env: the policy sees scaled observations, segments hold raw ones.

    SAC fits its temperature to the size of the rewards, and so takes them as they are.
    """
    space = venv.observation_space
    scales: dict[str, Any] = {"training": training, "gamma": config.ppo.gamma, "norm_reward": config.method != "sac"}
    if isinstance(space, gym.spaces.Dict):
        keys = [name for name, part in space.items() if isinstance(part, gym.spaces.Box) and not is_image_space(part)]
        return VecNormalize(venv, norm_obs=bool(keys), norm_obs_keys=keys or None, **scales)
    scaled = isinstance(space, gym.spaces.Box) and not is_image_space(space)
    return VecNormalize(venv, norm_obs=scaled, **scales)


def load_policy(folder: RunFolder, env: VecNormalize) -> BaseAlgorithm:
    """The trained policy of a run, in the given env."""
    config = folder.config
    model: BaseAlgorithm = named(METHODS, config.method, "method")(env, config, None)
    folder.load_policy(model)
    return model


def evaluate(folder: RunFolder, count: int, seed: int) -> list[float]:
    """True returns of `count` whole episodes of the trained policy, without exploration noise."""
    config = folder.config.but({"n_envs": 1, "subprocesses": False})
    model = load_policy(folder, normalised(make_vec_env(config, seed), config, training=False))
    return list(islice(episodes(model), count))


def env_of(model: BaseAlgorithm) -> VecEnv:
    """The env that a model trains in or acts in; every model here has one."""
    env = model.get_env()
    assert env is not None
    return env


def episodes(model: BaseAlgorithm) -> Iterator[float]:
    """True returns of whole episodes, one after the other, for as long as they are asked for.

    Raises UserError where one does not end.
    """
    env = env_of(model)
    observations, lasted = env.reset(), 0
    while lasted < ENDLESS:
        actions, _ = model.predict(cast(Any, observations), deterministic=True)
        observations, _, dones, infos = env.step(actions)
        lasted = 0 if dones.any() else lasted + 1
        yield from (float(info["episode"]["r"]) for info in infos if "episode" in info)
    raise UserError(f"an episode has not ended after {ENDLESS:,} steps; give env_options a max_episode_steps")

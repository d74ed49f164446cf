"""Clips: verified replay, pictures, video, and what Chromium makes of it."""

from __future__ import annotations

import base64
import dataclasses
import gc
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import av
import gymnasium as gym
import imageio.v3 as iio
import numpy as np
import pytest
from chromium import chromium
from PIL import Image
from playwright.sync_api import Page

from rltrainer.config import Clips
from rltrainer.core import Array, EnvFault, Segment, UserError
from rltrainer.envs import flat_observation, make_env, make_shown_env, picture
from rltrainer.labeling import clips
from rltrainer.labeling.camera import close
from rltrainer.labeling.clips import LIMIT, ClipMaker, clip_worker, encode, fit, make_clip, steps_by_frame
from rltrainer.labeling.drawing import Drawing
from rltrainer.labeling.gl import gl_backend, gl_renders
from rltrainer.replay import Mismatch, replay, replays_exactly

GRAYS = [np.full((48, 64, 3), 20 + 4 * k, np.uint8) for k in range(50)]


def rolled(env_id: str, lead_in: int, steps: int, seed: int = 7, **options: Any) -> Segment:
    """A segment that begins `lead_in` steps into an episode of random actions, with an episode before it."""
    env = make_env(env_id, options)
    env.action_space.seed(seed)
    env.reset(seed=seed)
    env.step(env.action_space.sample())
    observation, info = env.reset()
    observations, actions, rewards = [observation], [], []
    for _ in range(lead_in + steps):
        actions.append(env.action_space.sample())
        observation, reward, *_ = env.step(actions[-1])
        observations.append(observation)
        rewards.append(reward)
    close(env)
    return Segment(
        observations=np.array([flat_observation(env.observation_space, row) for row in observations[lead_in:]]),
        actions=np.array(actions[lead_in:]),
        env_rewards=np.array(rewards[lead_in:]),
        episode_seed=info["episode_seed"],
        lead_in=np.array(actions[:lead_in]),
    )


def decoded(video: bytes) -> Array:
    return np.asarray(iio.imread(video, plugin="pyav", extension=".mp4"))


@pytest.fixture(scope="module")
def cheetah() -> Segment:
    return rolled("HalfCheetah-v5", lead_in=700, steps=20)


@pytest.fixture(scope="module")
def cheetah_maker() -> Iterator[ClipMaker]:
    maker = ClipMaker("HalfCheetah-v5", {}, 128)
    yield maker
    maker.close()


# ------------------------------------------------------------------ replay


@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "Pendulum-v1", "CartPole-v1"])
def test_a_segment_deep_in_an_episode_is_shown_again_exactly(env_id: str) -> None:
    segment = rolled(env_id, lead_in=150 if env_id == "Pendulum-v1" else 8, steps=2)
    env = make_shown_env(env_id, {}, 64)
    assert list(replay(env, segment)) == [0, 1]
    close(env)


def test_a_tampered_action_is_refused_at_the_step_that_it_changes(cheetah: Segment) -> None:
    actions = cheetah.actions.copy()
    actions[5] += 1e-3
    env = make_shown_env("HalfCheetah-v5", {}, 64)
    steps = replay(env, dataclasses.replace(cheetah, actions=actions))
    assert [next(steps) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(Mismatch, match="observation 6 of the replay differs by") as caught:
        next(steps)
    assert caught.value.difference > 0
    close(env)


@pytest.mark.parametrize("change", [{"episode_seed": 3}, {"lead_in": np.zeros((700, 6), np.float32)}])
def test_another_beginning_is_refused_before_anything_is_shown(cheetah: Segment, change: dict[str, Any]) -> None:
    env = make_shown_env("HalfCheetah-v5", {}, 64)
    with pytest.raises(Mismatch, match="observation 0 "):
        next(replay(env, dataclasses.replace(cheetah, **change)))
    close(env)


def test_an_observation_that_is_not_a_number_is_matched_only_by_itself() -> None:
    segment = rolled("Pendulum-v1", lead_in=0, steps=1)
    broken = segment.observations.copy()
    broken[1, 0] = np.nan
    env = make_shown_env("Pendulum-v1", {}, 64)
    with pytest.raises(Mismatch, match="differs by inf"):
        list(replay(env, dataclasses.replace(segment, observations=broken)))
    close(env)


def test_a_clip_that_does_not_match_is_never_made(cheetah: Segment, cheetah_maker: ClipMaker) -> None:
    with pytest.raises(Mismatch):
        cheetah_maker.make(dataclasses.replace(cheetah, observations=cheetah.observations + 1e-3))


class Forgetful(gym.Env[Array, int]):
    """Its noise goes on from one episode to the next, whatever seed a reset brings."""

    observation_space = gym.spaces.Box(-10, 10, (1,))
    action_space = gym.spaces.Discrete(2)
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self._noise = np.random.default_rng(0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        return self._noise.uniform(size=1).astype(np.float32), 0.0, False, False, {}

    def render(self) -> Array:  # type: ignore[override]
        return np.zeros((33, 51, 3), np.uint8)


class Exploding(Forgetful):
    """It raises at the first step."""

    def step(self, action: int) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        raise RuntimeError("the simulator exploded")


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
def test_the_self_test_finds_nothing_in_an_env_that_replays(env_id: str) -> None:
    assert replays_exactly(env_id, {}, steps=30, seed=1) is None


def test_the_self_test_of_an_env_that_raises_says_so() -> None:
    with pytest.raises(EnvFault, match="the env raised RuntimeError at random actions: the simulator exploded; mend the env"):
        replays_exactly(f"{__name__}:Exploding", {}, steps=30, seed=1)


def test_the_self_test_says_how_an_env_does_not_replay() -> None:
    found = replays_exactly(f"{__name__}:Forgetful", {}, steps=30, seed=1)
    assert found is not None
    assert "cannot be shown again exactly: with the same seed and actions, observation 1 " in found


# ------------------------------------------------------------------ frames and steps


def test_frames_at_half_the_rate_show_every_second_step() -> None:
    assert steps_by_frame(4, env_rate=20, frame_rate=10) == [1, 3]


def test_frames_at_more_than_the_rate_show_steps_again() -> None:
    assert steps_by_frame(2, env_rate=20, frame_rate=50) == [0, 0, 1, 1, 1]


def test_frames_at_the_env_rate_show_each_step_once() -> None:
    assert steps_by_frame(50, env_rate=20, frame_rate=20) == list(range(50))


def test_a_segment_is_one_frame_at_least() -> None:
    assert steps_by_frame(3, env_rate=125, frame_rate=10) == [1]


def test_fifty_frames_a_second_of_an_env_with_twenty_are_two_and_a_half_for_each_step(cheetah: Segment) -> None:
    maker = ClipMaker("HalfCheetah-v5", {}, 64)
    clip = maker.make(cheetah, frame_rate=50)
    maker.close()
    assert (clip.frames, clip.steps, clip.frame_rate) == (50, 20, 50.0)
    assert decoded(clip.video).shape == (50, 64, 64, 3)


# ------------------------------------------------------------------ pictures


def test_frame_k_shows_what_step_k_led_to(cheetah: Segment, cheetah_maker: ClipMaker) -> None:
    clip = cheetah_maker.make(cheetah)
    env = make_shown_env("HalfCheetah-v5", {}, 128)
    picture, _ = clips.pictures_of(env, 128)
    seen = [picture() for _ in replay(env, cheetah)]
    close(env)
    shown = decoded(clip.video).astype(int)
    for frame in (0, 7, 19):
        errors = [np.abs(shown[frame] - other).mean() for other in seen]
        assert int(np.argmin(errors)) == frame
        assert min(errors) < 5


@pytest.mark.skipif(gl_backend() is None, reason="no GL here")
def test_the_floor_is_under_the_cheetah_wherever_it_has_run() -> None:
    env = make_shown_env("HalfCheetah-v5", {}, 128)
    env.reset(seed=0)
    simulation: Any = env.unwrapped
    seen = []
    for metres in (0.0, 100.0, -100.0):  # 75 of the floor's tiles of 4/3 m
        simulation.set_state(np.append(metres, simulation.data.qpos[1:]), simulation.data.qvel)
        lay = simulation.data.geom_xpos.copy()
        seen.append(picture(env).astype(int))
        np.testing.assert_array_equal(simulation.data.geom_xpos, lay)
    close(env)
    for there in seen[1:]:
        assert np.abs(there - seen[0]).mean() < 1
    sky, floor = seen[0][0].std(axis=0).max(), seen[0][-1].std(axis=0).min()  # from left to right
    assert floor > 20 > sky


def test_no_frame_is_black(cheetah: Segment, cheetah_maker: ClipMaker) -> None:
    assert decoded(cheetah_maker.make(cheetah).video).max(axis=(1, 2, 3)).min() > 100


def test_two_makers_in_one_process_do_not_blacken_each_other(cheetah: Segment, cheetah_maker: ClipMaker) -> None:
    other = ClipMaker("HalfCheetah-v5", {}, 64)
    other.make(cheetah)
    assert decoded(cheetah_maker.make(cheetah).video).max() > 100
    other.close()
    del other
    gc.collect()
    assert decoded(cheetah_maker.make(cheetah).video).max() > 100


@pytest.mark.skipif(gl_backend() is None, reason="no GL here")
def test_black_pictures_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "picture", lambda _: np.zeros((64, 64, 3), np.uint8))
    env = make_shown_env("HalfCheetah-v5", {}, 64)
    picture, _ = clips.pictures_of(env, 64)
    env.reset(seed=0)
    with pytest.raises(UserError, match="black with MUJOCO_GL="):
        picture()
    close(env)


def test_the_runner_stays_in_the_middle_of_the_picture() -> None:
    """Left to itself, Gymnasium's camera stays where it is."""
    env = make_shown_env("HalfCheetah-v5", {}, 64)
    picture, _ = clips.pictures_of(env, 64)
    env.reset(seed=0)
    before = picture().astype(int)
    env.unwrapped.set_state(env.unwrapped.data.qpos + np.eye(9)[0] * 8.0, env.unwrapped.data.qvel)  # type: ignore[attr-defined]
    assert np.abs(picture() - before).mean() < 10  # the floor's tiles repeat every 4 m
    close(env)


def test_time_after_an_end_shows_the_last_picture_darkened() -> None:
    """So both clips of a pair are of one length, and nobody takes the end for a clip that hangs."""
    segment = dataclasses.replace(rolled("CartPole-v1", 4, 6), terminated=True, after=5)
    maker = ClipMaker("CartPole-v1", {}, 64)
    clip, coarse = maker.make(segment), maker.make(segment, frame_rate=10)
    maker.close()
    assert (clip.frames, clip.steps) == (11, 11)
    assert (coarse.frames, coarse.steps) == (2, 11), "none of them shows the last step before the end"
    assert decoded(coarse.video)[1].mean() < 0.6 * decoded(coarse.video)[0].mean()
    shown = decoded(clip.video).astype(float)
    assert shown[5].mean() > 1.8 * shown[6].mean() > 20
    np.testing.assert_allclose(shown[6:].mean(axis=(1, 2, 3)), shown[6].mean(), rtol=0.02)


def test_captured_frames_are_shown_as_they_are() -> None:
    """No replay could match this segment."""
    frames = []
    for level in (0, 60, 120, 180):
        file = io.BytesIO()
        Image.fromarray(np.full((40, 60, 3), level, np.uint8)).save(file, "JPEG")
        frames.append(file.getvalue())
    segment = dataclasses.replace(rolled("Pendulum-v1", 0, 3), episode_seed=99, frames=tuple(frames))
    maker = ClipMaker("Pendulum-v1", {}, 32)
    clip = maker.make(segment)
    maker.close()
    assert (clip.width, clip.height, clip.frames) == (32, 22, 3)
    np.testing.assert_allclose(decoded(clip.video).mean(axis=(1, 2, 3)), [60, 120, 180], atol=2)


@pytest.mark.parametrize(
    ("shape", "fitted"),
    [((33, 51), (34, 52)), ((500, 500), (256, 256)), ((400, 600), (170, 256)), ((3, 900), (2, 256))],
)
def test_sides_are_made_even_and_no_longer_than_asked(shape: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert fit(np.zeros((*shape, 3), np.uint8), 256).shape == (*fitted, 3)


# ------------------------------------------------------------------ without GL


@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "Hopper-v5", "Swimmer-v5", "Reacher-v5", "Pusher-v5"])
def test_without_gl_the_motion_is_drawn(env_id: str) -> None:
    env = make_shown_env(env_id, {}, 128)
    drawing = Drawing(env, 128)
    env.reset(seed=0)
    env.action_space.seed(0)
    before = drawing.picture().astype(int)
    for _ in range(10):
        env.step(env.action_space.sample())
    changed = np.abs(drawing.picture() - before).max(axis=2) > 30
    assert before.shape == (128, 128, 3)
    assert 0.002 < changed.mean() < 0.6
    assert len(np.unique(before.reshape(-1, 3), axis=0)) > 4
    close(env)


def test_a_drawing_looks_from_where_gl_does(cheetah: Segment) -> None:
    """Both pictures show the body's colour in the same place."""
    env = make_shown_env("HalfCheetah-v5", {}, 128)
    picture, _ = clips.pictures_of(env, 128)
    env.reset(seed=0)
    drawn = Drawing(env, 128).picture().astype(int)
    ours, theirs = (seen[..., 0] - seen[..., 2].astype(int) > 40 for seen in (drawn, picture().astype(int)))
    close(env)
    assert (ours & theirs).sum() > 0.6 * theirs.sum() > 0


def test_where_there_is_no_gl_the_maker_draws_and_says_so(monkeypatch: pytest.MonkeyPatch, cheetah: Segment) -> None:
    monkeypatch.setattr(clips, "use_gl", lambda: None)
    maker = ClipMaker("HalfCheetah-v5", {}, 64)
    assert (maker.notice or "").startswith("Clips are drawn in 2-D because ")
    assert decoded(maker.make(cheetah).video).shape == (20, 64, 64, 3)
    maker.close()


def test_an_env_that_needs_no_gl_has_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "use_gl", lambda: None)
    maker = ClipMaker("Pendulum-v1", {}, 64)
    assert maker.notice is None
    maker.close()


def test_a_gl_that_gives_no_picture_is_not_taken() -> None:
    assert not gl_renders("disable")


# ------------------------------------------------------------------ video


def test_a_clip_is_what_every_browser_decodes_in_display_order() -> None:
    video = encode(GRAYS, 20.0)
    with av.open(io.BytesIO(video)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        assert (codec.name, codec.pix_fmt, codec.width, codec.height) == ("h264", "yuv420p", 64, 48)
        assert codec.profile in ("Main", "Constrained Baseline")
        assert (stream.frames, stream.average_rate) == (50, 20)
        packets = [packet for packet in container.demux(stream) if packet.size]
    assert all(packet.pts == packet.dts for packet in packets)
    assert all(packet.is_keyframe for packet in packets[::10])
    assert video.index(b"moov") < video.index(b"mdat")


def test_a_single_picture_is_a_clip_with_a_duration() -> None:
    with av.open(io.BytesIO(encode(GRAYS[:1], 20.0))) as container:
        stream = container.streams.video[0]
        assert stream.frames == 1
        assert float(stream.duration * stream.time_base) == pytest.approx(0.05)


def test_a_clip_that_would_be_too_large_is_made_coarser() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 256, 256, 3), np.uint8)
    assert len(encode(list(noise), 20.0)) <= LIMIT < len(encode(list(noise[:10]), 20.0, limit=None))


PLAY = """async ([video, rate, frames]) => {
  const bytes = Uint8Array.from(atob(video), letter => letter.charCodeAt(0));
  const player = document.createElement("video");
  player.muted = true;
  player.src = URL.createObjectURL(new Blob([bytes], {type: "video/mp4"}));
  document.body.replaceChildren(player);
  await new Promise((good, bad) => {
    player.onloadeddata = good;
    player.onerror = () => bad(player.error.message);
  });
  const canvas = new OffscreenCanvas(player.videoWidth, player.videoHeight);
  const context = canvas.getContext("2d", {willReadFrequently: true});
  const seen = [];
  for (const frame of frames) {
    const shown = new Promise(good => player.requestVideoFrameCallback(good));
    player.currentTime = (frame + 0.5) / rate;
    await shown;
    context.drawImage(player, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    seen.push(btoa(Array.from(pixels, level => String.fromCharCode(level)).join("")));
  }
  return {duration: player.duration, width: player.videoWidth, height: player.videoHeight, seen};
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium() as browser:
        yield browser.new_page()


def played(page: Page, video: bytes, rate: float, frames: list[int]) -> tuple[float, list[Array]]:
    """(duration, pictures) as Chromium shows them, seeking to each frame in turn."""
    found = page.evaluate(PLAY, [base64.b64encode(video).decode(), rate, frames])
    shape = (found["height"], found["width"], 4)
    pictures = [np.frombuffer(base64.b64decode(seen), np.uint8).reshape(shape)[..., :3] for seen in found["seen"]]
    return found["duration"], pictures


@pytest.mark.parametrize("rate", [20.0, 29.97, 125.0])
def test_frame_k_in_chromium_is_picture_k(page: Page, rate: float) -> None:
    frames = [1, 9, 10, 11, 30, 49, 3, 0]
    duration, pictures = played(page, encode(GRAYS, rate), rate, frames)
    assert duration == pytest.approx(50 / rate, abs=1e-4)
    np.testing.assert_allclose([seen.mean() for seen in pictures], [20 + 4 * frame for frame in frames], atol=1.5)


def test_chromium_shows_the_colours_that_were_rendered(page: Page) -> None:
    colours = ([200, 30, 30], [30, 200, 30], [30, 30, 200], [200, 160, 110])
    video = encode([np.full((64, 64, 3), colour, np.uint8) for colour in colours], 20.0)
    _, pictures = played(page, video, 20.0, [1, 2, 3, 0])
    for seen, colour in zip(pictures, (*colours[1:], colours[0]), strict=True):
        np.testing.assert_allclose(seen.reshape(-1, 3).mean(axis=0), colour, atol=3)


def test_chromium_plays_a_replayed_clip(page: Page, cheetah: Segment, cheetah_maker: ClipMaker) -> None:
    clip = cheetah_maker.make(cheetah)
    rendered = decoded(clip.video).astype(int)
    duration, pictures = played(page, clip.video, clip.frame_rate, [10, 19, 1])
    assert duration == pytest.approx(1.0)
    for frame, seen in zip((10, 19, 1), pictures, strict=True):
        assert np.abs(seen - rendered[frame]).mean() < 2
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 3


# ------------------------------------------------------------------ the worker process


def test_a_worker_makes_clips_and_tells_what_went_wrong() -> None:
    segment = rolled("Pendulum-v1", lead_in=5, steps=4)
    with clip_worker() as worker:
        clip = worker.submit(make_clip, "Pendulum-v1", {}, Clips(size=64), segment)
        tampered = dataclasses.replace(segment, episode_seed=1)
        refused = worker.submit(make_clip, "Pendulum-v1", {}, Clips(size=64), tampered).exception()
        assert clip.result().frames == 4
    assert isinstance(refused, Mismatch)
    assert refused.step == 0


def test_a_worker_ends_with_its_parent_even_if_that_is_killed(tmp_path: Path) -> None:
    """Its end is seen by its end of our pipe."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, signal\n"
        "from rltrainer.labeling.clips import clip_worker\n"
        "if __name__ == '__main__':\n"
        "    clip_worker().submit(os.getpid).result()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, timeout=60, check=False)
    assert ended.returncode == -9


def test_importing_the_clip_maker_imports_neither_mujoco_nor_torch() -> None:
    """MUJOCO_GL must be set first, and a worker must be up soon."""
    code = "import rltrainer.labeling.clips, sys; print([name for name in ('mujoco', 'torch') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "[]"

"""One episode of a trained policy as a video."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio

from rltrainer.checkpoint import RunFolder
from rltrainer.core import Segment, UserError
from rltrainer.envs import frames_per_second, make_shown_env
from rltrainer.labeling.camera import close
from rltrainer.labeling.clips import fit, pictures_of
from rltrainer.replay import Mismatch, replay
from rltrainer.training import episodes, load_policy, make_vec_env, normalised
from rltrainer.wrapper import PreferenceRewardVecWrapper

VIDEOS = (".mp4", ".mkv", ".mov")
"""Files that take H.264."""


def film(folder: RunFolder, file: Path, seed: int, size: int) -> tuple[float, int]:
    """Play one episode, show it again in an env with a camera, write it to `file`. Gives (true return, recorded steps).

    Raises UserError where the env cannot be shown again exactly, or the run holds no policy, or `file` has no folder.
    """
    if file.suffix not in VIDEOS:
        raise UserError(f"out is {str(file)!r}, and films are {', '.join(VIDEOS)}; pass another --out FILE")
    if not file.absolute().parent.is_dir():
        raise UserError(f"out is {str(file)!r}, and there is no folder {str(file.parent)!r}; pass another --out FILE")
    episode = play(folder, seed)
    config = folder.config
    env = make_shown_env(config.env, config.env_options, size)
    try:
        look, _ = pictures_of(env, size)
        with iio.imopen(file, "w", plugin="pyav") as video:
            video.init_video_stream("libx264", fps=frames_per_second(env))
            for _ in replay(env, episode):
                video.write_frame(fit(look(), size))
    except Mismatch as mismatch:
        file.unlink(missing_ok=True)
        raise UserError(f"{config.env!r} cannot be shown again exactly ({mismatch}), so there is no video of it") from None
    finally:
        close(env)
    return episode.env_return, len(episode)


def play(folder: RunFolder, seed: int) -> Segment:
    """One whole episode of the policy, without exploration noise, as one segment."""
    config = folder.config
    venv = PreferenceRewardVecWrapper(make_vec_env(config.but({"n_envs": 1}), seed))
    model = load_policy(folder, normalised(venv, config, training=False))
    for _ in episodes(model):
        return venv.recorder.last_episode(0)
    raise AssertionError("episodes never end by themselves")

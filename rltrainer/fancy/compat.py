"""What fancy_gym 0.3 needs to run on today's Gymnasium, and nothing else.

It was written for Gymnasium 0.29: it subclasses a wrapper that is gone since 1.0, and counts on wrappers handing on the
attributes of the env inside. `enable` restores both, for fancy_gym's own classes only.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import gymnasium as gym

from rltrainer.core import UserError
from rltrainer.fancy.inner_recorder import InnerRecorder, forward

_LOCK = threading.RLock()


@cache
def enable() -> None:
    """Import fancy_gym so that it works in this process (each needs its own). Raises UserError where it cannot."""
    if sys.version_info >= (3, 12):
        found = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise UserError(f"fancy ids need Python 3.11 and this is Python {found}; set rltrainer up with Python 3.11")
    with _missing_wrapper(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            module("fancy_gym")
        except ModuleNotFoundError as error:
            raise UserError(f"fancy ids need the package {error.name}; pip install fancy_gym==0.3.0") from None
        except ImportError as error:
            raise UserError(
                f"fancy_gym needs a system library that is missing ({error}); "
                "on Debian and Ubuntu: apt-get install libglib2.0-0 libgl1"
            ) from None
    _restore_forwarding()
    _keep_off_the_root_logger()


@contextlib.contextmanager
def importable() -> Iterator[None]:
    """A user's own code may import fancy_gym in here, and finds it as after `enable`. One thread at a time."""
    with _LOCK:
        with _missing_wrapper():
            yield
        if "fancy_gym" in sys.modules and sys.version_info < (3, 12):
            enable()


def module(name: str) -> Any:
    """A module of fancy_gym or of what it is made of; they declare no types."""
    return importlib.import_module(name)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that these envs' own Box bounds draw each time one is made."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*precision lowered by casting", UserWarning)
        yield


@contextlib.contextmanager
def _missing_wrapper() -> Iterator[None]:
    """fancy_gym subclasses `gymnasium.wrappers.EnvCompatibility`, and no env of today needs it: there to import."""
    if hasattr(gym.wrappers, "EnvCompatibility"):  # code in `importable` calls `enable`
        yield
        return
    setattr(gym.wrappers, "EnvCompatibility", gym.Wrapper)  # noqa: B010 - a name that the module does not declare
    try:
        yield
    finally:
        delattr(gym.wrappers, "EnvCompatibility")


def _restore_forwarding() -> None:
    black_box_wrapper = module("fancy_gym.black_box.black_box_wrapper").BlackBoxWrapper
    raw_interface_wrapper = module("fancy_gym.black_box.raw_interface_wrapper").RawInterfaceWrapper
    others = module("fancy_gym.utils.wrappers")
    for wrapper in (raw_interface_wrapper, black_box_wrapper, others.TimeAwareObservation, others.FlattenObservation):
        wrapper.__getattr__ = forward
    module("fancy_gym.envs.registry").gym_make = _make_inner


def _make_inner(env: str, **options: Any) -> InnerRecorder:
    return InnerRecorder(gym.make(env, disable_env_checker=True, **options))


def _keep_off_the_root_logger() -> None:
    """mp_pytorch warns through `logging.warning`, which puts a handler on the root logger: it gets its own logger."""
    logger = logging.getLogger("mp_pytorch")
    logger.addHandler(logging.NullHandler())
    for name in ("mp_pytorch.mp.promp", "mp_pytorch.mp.prodmp"):
        module(name).logging = logger

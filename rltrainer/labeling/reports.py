"""A run's report, made in a process of its own: to draw would hold up the sockets."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

from rltrainer.core import UserError

PATIENCE_SECONDS = 120.0


async def make_report(run: Path) -> bytes:
    """What `rltrainer report RUN` writes. Raises UserError where it does not."""
    command = [sys.executable, "-m", "rltrainer", "report", str(run)]
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        raise UserError(f"no report came within {PATIENCE_SECONDS:g} s; try `rltrainer report` in a terminal") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = err.decode(errors="replace").strip().splitlines()
        raise UserError(f"the report was not made: {said[-1] if said else 'it said nothing'}")
    return await asyncio.to_thread(Path(out.decode().strip()).read_bytes)

"""The label service as a child process of the trainer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from rltrainer.core import UserError

LOG = "label-service.log"
START_SECONDS = 60.0
STOP_SECONDS = 5.0
PATIENCE_SECONDS = 10.0


class LabelService:
    """`rltrainer label RUN` beside the trainer. A dead one is started again, at the same port.

    url: the page's link, which a service that was started again takes, too
    """

    def __init__(self, run: Path, host: str, port: int) -> None:
        """Raises UserError with the service's own words where it does not start."""
        self._run, self._host, self._port = run, host, port
        self._child = self._spawn()
        self.url = self._link()
        self._port = int(self.url.split("#")[0].rstrip("/").rpartition(":")[2])

    def ensure(self) -> bool:
        """Start the service again if it died, not more often than every ten seconds. True where a new one was started.

        Nobody waits for it: training goes on without a page, and tries again later.
        """
        if self._child.poll() is None or time.monotonic() - self._started_at < PATIENCE_SECONDS:
            return False
        self._close_pipe()
        try:
            self._child = self._spawn()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it; labels in flight are committed first."""
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self._close_pipe()

    def _spawn(self) -> subprocess.Popen[str]:
        self._started_at = time.monotonic()
        command = [sys.executable, "-m", "rltrainer", "label", str(self._run), "--host", self._host, "--port", str(self._port)]
        with (self._run / LOG).open("a") as log:
            self._log_began = log.tell()
            return subprocess.Popen(
                [*command, "--no-open", "--with-parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # the trainer's Ctrl-C is the trainer's to pass on
            )

    def _link(self) -> str:
        """What the service prints once it listens."""
        assert self._child.stdout is not None
        patience = threading.Timer(START_SECONDS, self._child.kill)
        patience.daemon = True
        patience.start()
        try:
            line = next((line.strip() for line in self._child.stdout if "#token=" in line), "")
        finally:
            patience.cancel()
        if line:
            return line[line.index("http") :]
        self._child.wait()
        self._close_pipe()
        with (self._run / LOG).open() as log:
            log.seek(self._log_began)
            tail = log.read().strip().splitlines()[-1:]
        killed = self._child.returncode == -signal.SIGKILL
        silent = f"it was killed, or had not begun after {START_SECONDS:g} s" if killed else "it said nothing"
        raise UserError(f"the label service did not start: {tail[0] if tail else silent}")

    def _close_pipe(self) -> None:
        if self._child.stdout is not None:
            self._child.stdout.close()

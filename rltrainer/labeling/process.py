"""The label service as a child process of the trainer."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from rltrainer.core import UserError

START_SECONDS = 60.0
STOP_SECONDS = 5.0
PATIENCE_SECONDS = 10.0


class LabelService:
    """`rltrainer label RUN` beside the trainer. A dead one is started again, at the same port."""

    def __init__(self, run: Path, host: str, port: int) -> None:
        """Raises UserError with the service's own words where it does not start."""
        self._run, self._host, self._port = run, host, port
        self._started_at = 0.0
        self._child, self.url = self._start()
        self._port = int(self.url.split("#")[0].rstrip("/").rpartition(":")[2])

    def ensure(self) -> bool:
        """Start the service again if it died, not more often than every ten seconds. True where a new one was started."""
        if self._child.poll() is None or time.monotonic() - self._started_at < PATIENCE_SECONDS:
            return False
        try:
            self._child, self.url = self._start()
        except (UserError, OSError):  # training goes on without a page; tried again later
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
        for pipe in (self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()

    def _start(self) -> tuple[subprocess.Popen[str], str]:
        self._started_at = time.monotonic()
        command = [
            sys.executable,
            "-m",
            "rltrainer",
            "label",
            str(self._run),
            "--host",
            self._host,
            "--port",
            str(self._port),
        ]
        log = (self._run / "label-service.log").open("a")
        with log:
            child = subprocess.Popen(
                [*command, "--no-open", "--with-parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # the trainer's Ctrl-C is the trainer's to pass on
            )
        assert child.stdout is not None
        url = next((line.strip() for line in child.stdout if "#token=" in line), "")
        if not url:
            child.wait()
            child.stdout.close()
            tail = (self._run / "label-service.log").read_text().strip().splitlines()[-1:]
            raise UserError(f"the label service did not start: {tail[0] if tail else 'it said nothing'}")
        return child, url[url.index("http") :]

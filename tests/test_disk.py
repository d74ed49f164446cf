"""Facts about the disk: which file systems a run may lie on, and that files are whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rltrainer import disk
from rltrainer.checkpoint import RunFolder
from rltrainer.config import Config
from rltrainer.core import UserError
from rltrainer.disk import REMOTE, file_system, write_whole
from rltrainer.store import Store

MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/vdb /home/ada/disk xfs rw 0 0
//server/labels /mnt/two\\040words cifs rw 0 0
/dev/vdc /mnt/hidden ext4 rw 0 0
ada@far: /mnt/hidden fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/runs", "ext4"),
        ("/home", "nfs4"),
        ("/home/ada/runs/x", "nfs4"),
        ("/home/ada/disk/runs", "xfs"),
        ("/homes", "ext4"),
        ("/mnt/two words/run", "cifs"),
        ("/mnt/hidden/run", "fuse.sshfs"),
    ],
)
def test_a_path_lies_on_the_deepest_and_latest_mount_above_it(tmp_path: Path, path: str, kind: str) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    assert file_system(Path(path), tmp_path / "mounts") == kind


def test_where_the_system_tells_no_mounts_nothing_is_known(tmp_path: Path) -> None:
    assert file_system(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize("kind", sorted(REMOTE))
def test_a_run_on_a_network_file_system_is_refused_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(disk, "file_system", lambda _: kind)
    run = tmp_path / "run"
    for make in (lambda: Store.create(run), lambda: RunFolder.create(run, Config())):
        with pytest.raises(UserError, match=rf"which is on a network file system \({kind}\).*; keep the run on a disk"):
            make()
    assert not run.exists()
    RunFolder.create(run, Config(labeler="none"))  # which keeps no store
    assert (run / "config.yaml").exists()


def test_a_store_that_was_moved_to_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.create(tmp_path / "run").close()
    monkeypatch.setattr(disk, "file_system", lambda _: "nfs")
    with pytest.raises(UserError, match="network file system"):
        Store.open(tmp_path / "run")


def test_the_content_is_synced_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, seen = tmp_path / "x", []

    def sync(handle: int) -> None:
        seen.append((stat.S_ISDIR(os.fstat(handle).st_mode), file.exists()))

    monkeypatch.setattr(disk.os, "fsync", sync)
    write_whole(file, b"content")
    assert seen == [(False, False), (True, True)]
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [("x", b"content")]

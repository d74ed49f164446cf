"""The doctor: what it finds, and that it says how to mend it."""

from __future__ import annotations

import importlib.metadata
import socket
import sys

import pytest

from rltrainer import doctor
from rltrainer.doctor import Check, checks, healthy, labeler_port, report


@pytest.fixture(scope="module")
def found() -> dict[str, Check]:
    return {check.name: check for check in checks(port=0)}


def test_everything_is_looked_at(found: dict[str, Check]) -> None:
    assert list(found) == ["packages", "fancy_gym", "GL", "H.264", "port", "SQLite", "torch"]


@pytest.mark.parametrize("name", ["packages", "H.264", "port", "SQLite", "torch"])
def test_a_machine_that_passes_the_tests_is_well(found: dict[str, Check], name: str) -> None:
    assert found[name].status == "ok"


def test_whatever_is_not_well_comes_with_a_line_to_type(found: dict[str, Check]) -> None:
    assert all((check.status == "ok") != bool(check.mend) for check in found.values())


def test_gl_is_named_with_its_speed_where_there_is_any(found: dict[str, Check]) -> None:
    if found["GL"].status == "warn":
        pytest.skip("no GL here, or a slow one")
    assert "ms of processor time a frame" in found["GL"].found


def test_a_port_in_use_is_a_warning_that_names_it() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        check = labeler_port(taken)
    assert (check.status, check.mend) == ("warn", "add --port 0 to the command: any free one")
    assert str(taken) in check.found


def test_packages_that_are_missing_or_of_another_version_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["numpy<1", "no-such-package>=2", "pillow", "old-thing==1; python_version < '3'", "spare; extra == 'dev'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: asked)
    check = doctor.packages()
    assert check.status == "fail"
    assert f"numpy is {importlib.metadata.version('numpy')}, and rltrainer needs <1" in check.found
    assert check.found.endswith("; no-such-package is missing")
    assert check.mend == f"{sys.executable} -m pip install 'numpy<1' 'no-such-package>=2'"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="fancy_gym is for Python 3.11")
def test_another_mujoco_than_fancy_gym_pins_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "4.0.0" if name == "mujoco" else versions(name))
    check = doctor.packages()
    assert check.found == "mujoco is 4.0.0, and fancy_gym needs ==2.3.3"
    assert check.mend.endswith(" install 'mujoco==2.3.3'")


def test_without_gl_the_doctor_says_that_clips_are_drawn_and_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "gl_backend", lambda: None)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    check = doctor.gl()
    assert (check.status, "drawn in 2-D" in check.found) == ("warn", True)
    assert check.mend.startswith("apt-get install libosmesa6")


def test_a_variable_that_stands_in_the_way_of_gl_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "gl_backend", lambda: None)
    monkeypatch.setattr(doctor, "gl_renders", lambda backend: backend == "osmesa")
    monkeypatch.setenv("MUJOCO_GL", "egl")
    check = doctor.gl()
    assert ("MUJOCO_GL=egl" in check.found, check.mend) == (True, "unset MUJOCO_GL")


def test_a_probe_that_fails_says_why() -> None:
    assert doctor._probe("sys") == (False, "TypeError: 'module' object is not callable")


def test_only_failures_make_a_machine_unhealthy() -> None:
    assert healthy([Check("a", "ok", "well"), Check("b", "warn", "so so", "rest")])
    assert not healthy([Check("a", "ok", "well"), Check("b", "fail", "ill", "rest")])


def test_the_report_sets_the_way_to_mend_below_what_was_found() -> None:
    lines = report([Check("GL", "ok", "egl"), Check("H.264", "fail", "no encoder", "pip install av")]).splitlines()
    assert lines == ["ok    GL     egl", "fail  H.264  no encoder", "             → pip install av"]

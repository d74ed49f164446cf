"""Facts about generated messages: they hurt nobody, and the harness that says so finds what does."""

from __future__ import annotations

import pytest

from benchmarks.fuzz import KINDS, measured

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.mark.parametrize("fault", ["", "stores under another's name"])
def test_a_storm_of_messages_hurts_nobody_and_a_planted_fault_is_found(fault: str) -> None:
    figures, _ = measured(fault, 400, 7)
    assert any(figures[kind] for kind in KINDS) == bool(fault)
    assert figures["bystanders' labels"] > 0

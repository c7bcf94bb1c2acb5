"""A portal under load: a small flood, and a few seconds of mixed use."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.chaos.load import Use, table
from tests.support.benchmark_program import figures_of

PROGRAM = """
import json, sys
from pathlib import Path
from lab.chaos import load
from core.events import silent_reporter
load.FLOOD, load.FLOODING, load.PEOPLE = 6, 2, 2
load.RATES, load.STEP_S, load.LOOK_EVERY_S = (3.0,), 4.0, 0.5
print(json.dumps(load.loaded(Path(sys.argv[1]), 0.1, 1, silent_reporter())))
"""


@pytest.mark.timeout(900)
def test_a_burst_of_uploads_and_mixed_use_are_answered(tmp_path: Path) -> None:
    figures = figures_of(PROGRAM, tmp_path, timeout_s=840)
    said = table(figures)
    flood, use = figures["flood"], figures["use"]
    assert flood["wrong"] == [] and flood["whole"] == flood["statuses"]["201"] == 6, said
    assert use["wrong"] == {} and sum(one["count"] for one in use["answers"].values()) >= 3, said
    assert min(use["web_mib"]) > 0 and all(web <= whole for web, whole in zip(use["web_mib"], use["all_mib"])), said
    assert "6 uploads at the same moment" in said


def test_a_rate_is_sustained_if_answers_are_fast_and_no_queue_grows() -> None:
    held = Use()
    held.took_s["page"] = [0.1] * 99 + [5.0]
    held.waiting = [20, 3]
    assert held.is_held()
    assert not Use().is_held(), "nothing was answered"
    for wrong in ("slow", "refused", "waiting"):
        use = Use()
        use.took_s["page"] = [0.1] * 90 + [5.0] * (10 if wrong == "slow" else 0)
        use.wrong.update({"page: 503": 1} if wrong == "refused" else {})
        use.waiting = [0, 7 if wrong == "waiting" else 0]
        assert not use.is_held(), wrong

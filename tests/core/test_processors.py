"""How many processors a process counts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from core.data_folder import REPOSITORY

PRINT_CORES = "from core.processors import usable_cores; print(usable_cores())"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system keeps no process to some processors")
def test_a_process_that_is_kept_to_one_processor_counts_one() -> None:
    one = f"import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1]); {PRINT_CORES}"
    ran = subprocess.run([sys.executable, "-c", one], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["1"]

"""Writes the list of long tests, ``tests/long.txt``, from pytest's durations.

``./hark test -m "" --durations=0 > SAID; python -m tests.support.long_tests SAID``
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

LIST = Path(__file__).parents[1] / "long.txt"
LONG_S = 1.5  # on two cores that three processes share
# They are for everybody: the product from end to end.
FOR_ALL = ("browser/test_portal.py", "browser/test_recordings_in_browser.py", "browser/test_first_minute.py")
DURATION = re.compile(r"([\d.]+)s (?:call|setup|teardown) +tests/([^\s\[]+)")


def long_tests(said: str) -> list[str]:
    """Return the long tests as ``folder/test_file.py::test_name``, with all cases of a test together."""
    seconds: Counter[str] = Counter()
    for took, name in DURATION.findall(said):
        seconds[name] += float(took)
    return sorted(name for name, took in seconds.items() if took >= LONG_S and not any(one in name for one in FOR_ALL))


if __name__ == "__main__":
    LIST.write_text("\n".join(long_tests(Path(sys.argv[1]).read_text())) + "\n")

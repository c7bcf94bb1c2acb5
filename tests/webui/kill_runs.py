"""Training runs of the portal, each killed at a random moment: ``python -m tests.webui.kill_runs --runs 50``.

Starts ``serve``, submits runs at the smallest effort, and kills, at random, the child process of a run, the worker that
supervises it, a process of the workers that has no run (one that waits, hands out or writes down), or the server itself
(which is then started again), or cancels the run. At the end every run must be done or cancelled, with exactly the
clips of its plan, one version each, and a library that passes its check. Prints one JSON object. Too long for every
test run: about half an hour on two cores for 50.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmark.kills import Server, kill_process, kill_supervisor, without_a_child

PHRASES = ("hey compass", "okay garden", "night lantern", "silver anchor", "hello harbour")
KILLS = ("child", "worker", "idle", "server", "cancel")
WEIGHTS = (4, 4, 3, 2, 1)
MOMENT_S = (0.5, 45.0)  # after its start, in which a run is killed


def main() -> int:
    """Returns 0 where nothing was lost and nothing doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    data = options.data or Path(tempfile.mkdtemp(prefix="hark-kill-"))
    os.environ["HARK_DATA"] = str(data)
    from webui.setup import ready

    ready()
    from webui.accounts.models import User
    from webui.jobs import services
    from webui.jobs.models import Job
    from webui.trainer.models import Version
    from webui.trainer.services import configuration, train

    rng = random.Random(options.seed)
    owner = User.objects.create_user("owner", password="a-good-long-password", is_owner=True)
    server = Server(data)
    waiting = [(PHRASES[n % len(PHRASES)], n // len(PHRASES)) for n in range(options.runs)]
    doomed: dict[str, tuple[float, str]] = {}  # by job: how long after its start, and how
    killed: Counter[str] = Counter()
    try:
        while True:
            going = list(Job.objects.filter(state__in=Job.GOING))
            while waiting and len(going) < 2:
                phrase, seed = waiting.pop()
                job = train(user=owner, config=configuration(phrase=phrase, effort="trial", seed=seed))
                doomed[str(job.id)] = (rng.uniform(*MOMENT_S), rng.choices(KILLS, WEIGHTS)[0])
                going.append(job)
            if not going:
                break
            for job in going:
                moment, how = doomed.get(str(job.id), (1e9, ""))
                if job.state != Job.State.RUNNING or (job.seconds or 0.0) < moment or job.process_group is None:
                    continue
                del doomed[str(job.id)]
                killed[how] += 1
                print(f"{job.title}: {how} killed at {job.seconds:.1f} s, in {job.stage}", file=sys.stderr, flush=True)
                if how == "cancel":
                    services.cancel(job=job)
                elif how == "server":
                    server.kill()
                elif how == "idle":
                    kill_process(rng.choice(without_a_child(server.process.pid) or [2**22]))
                elif how == "child":
                    kill_process(job.process_group)
                else:
                    kill_supervisor(job.process_group)
            for job in Job.objects.filter(state=Job.State.INTERRUPTED):  # killed twice, by its own and another's kill
                services.retry(job=job)
            time.sleep(0.3)
    finally:
        server.stop()
    states = Counter(Job.objects.values_list("state", flat=True))
    done = Job.objects.filter(state=Job.State.DONE)
    wrong = [f"{job.title} {job.spec['seed']}: {said}" for job in done for said in _wrong(data, job)]
    versions = Version.objects.count()
    check = _check(data)
    print(json.dumps({
        "runs": options.runs, "killed": dict(killed), "never_reached_their_moment": len(doomed), "states": dict(states),
        "versions": versions, "model_folders": len(list((data / "models").iterdir())), "wrong": wrong, "library": check,
    }))  # fmt: skip
    good = set(states) <= {"done", "cancelled"} and versions == done.count() and not wrong and not check["problems"]
    return 0 if good else 1


def _wrong(data: Path, job: object) -> list[str]:
    """What is lost or doubled of a run that is done."""
    from db.db_api import Library
    from pipeline.training.plan import load_plan

    run = Path(job.result["bundle"]).stem  # type: ignore[attr-defined]
    plan = load_plan(data / "jobs" / run / "plan.json")
    assert plan is not None
    asked = [request.request_id for request in plan.requests]
    with Library(data) as library:
        there = library.request_ids_present(asked)
    said = []
    if not len(there) == len(asked) == len(set(asked)):
        said.append(f"{len(asked)} clips planned, {len(there)} are there")
    if not Path(job.result["bundle"]).is_file():  # type: ignore[attr-defined]
        said.append("its bundle is gone")
    return said


def _check(data: Path) -> dict[str, object]:
    from db.db_api import Library

    with Library(data) as library:
        report = library.check()
    return {"clips": report.clips, "problems": [problem.kind for problem in report.problems]}


if __name__ == "__main__":
    sys.exit(main())

"""Versions of a detector with all their files, as training runs and comparisons leave them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.urls import reverse

from core.worded import worded
from model.metrics import poisson_interval, wilson_interval
from model.runtime.detector import MANIFEST_KEYS, SCHEMA, manifest_digest
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.trainer import results
from webui.trainer.models import Detector, Version

LEVELS = [0.1, 0.3, 0.5, 0.7, 0.9]
RATES = {0.5: 0.95, 2.0: 0.8, 12.0: 0.6, 48.0: 0.4, 240.0: 0.2}  # thresholds
RUN = "hey-compass-quick-0123abcd"


def a_share(misses: int, of: int) -> dict[str, float | None]:
    return wilson_interval(misses, of).as_dict()


def make_report(phrase: str = "hey compass", people: int = 0) -> dict[str, Any]:
    """Make a report like ``pipeline.training.reporting.report.run_figures``, of 40 utterances and 2 hours."""
    curve = {"threshold": LEVELS, "fa_per_hour": [20.0, 4.0, 1.0, 0.5, 0.0]}
    misses = {"all": [0.0, 0.05, 0.1, 0.2, 0.6], "clean": [0.0, 0.0, 0.05, 0.1, 0.5], "noisy": [0, 0.1, 0.15, 0.3, 0.7]}
    shipped = {"all": a_share(6, 40), "clean": a_share(1, 20), "noisy": a_share(5, 20)}
    alarms = poisson_interval(1, 2.0).as_dict()
    return {
        "phrase": phrase, "language": "en", "effort": "quick", "seed": 3, "run": RUN,
        "created": "2026-01-02T03:04:05+00:00", "machine": {"python": "3.11", "system": "Linux", "device": "cpu"},
        "summary": {
            "miss_rate": shipped["all"], "miss_rate_clean": shipped["clean"], "miss_rate_noisy": shipped["noisy"],
            "fa_per_hour": alarms, "threshold": 0.6, "confusables_accepted": a_share(2, 10), "test_hours": 2.0,
            "parameters": 12_345, "effort": "quick",
        },
        "counts": {"positive": {"reused": 1, "mined": 2, "generated": 3}},
        "clips": [{"bucket": "plain_negative", "engine": "espeak", "split": "test", "clips": 6}],
        "engines": {"espeak": 9, "festival": 1}, "engines_missing": {}, "held_out_engine": "festival",
        "licences": ["CC-BY-4.0", "GPL-3.0"],
        "training": {
            "steps": 60, "best_step": 40, "best_measure": 0.1, "seconds": 1.5,
            "history": [{"step": 40, "loss": 0.25, "measure": 0.125}],
        },
        "backbone": {
            "name": "backbone-standard", "version": 1, "training_corpora": ["arctic"], "training_engines": ["espeak"],
            "licences": {"arctic": "free (CMU)"},
        },
        "thresholds": [{"fa_per_day": r, "threshold": t, "extrapolated": r < 12} for r, t in RATES.items()],
        "results": {
            "people": {"utterances": people, "miss_rate": a_share(people // 4, people)},
            "far": {"utterances": 0, "miss_rate": a_share(0, 0)},
            "hours": 2.0,
            "distinct_hours": 2.0,
            "positives": 40,
            "utterances": 40,
            "clips": {"clean": 20, "noisy": 20},
            "voices": 12,
            "at_rates": [
                {
                    "fa_per_hour_wanted": 0.5, "threshold": 0.6, "false_alarms": 1, "fa_per_hour": alarms,
                    "miss_rate": shipped,
                }
            ],
            "at_thresholds": [
                {
                    "threshold": threshold, "false_alarms": alarms, "confusables": a_share(2, 10),
                    "fa_per_hour": poisson_interval(alarms, 2.0).as_dict(),
                    "miss_rate": shipped if threshold == 0.6 else dict.fromkeys(misses, a_share(missed, 40)),
                }
                for threshold, alarms, missed in ((0.2, 40, 1), (0.4, 8, 2), (0.6, 1, 6), (0.8, 1, 24), (0.95, 0, 40))
            ],
            "by_engine": [
                {"engine": engine, "condition": condition, "clips": 10, "miss_rate": a_share(2, 10)}
                for engine in ("espeak", "festival")
                for condition in ("clean", "noisy")
            ],
            "by_speaker": [
                {"engine": "espeak", "speaker": f"s{n}", "clips": 2, "utterances": 2, "miss_rate": a_share(n % 3, 2)}
                for n in range(12)
            ],
            "false_alarms_by": [
                {"engine": "bank:kitchen", "condition": "clean", "hours": 2.0, "false_alarms": 1, "fa_per_hour": alarms}
            ],
            "confusables": {
                "said": 10, "accepted": 2, "rate": a_share(2, 10),
                "worst": [{"text": "hey campus", "accepted": 2, "said": 2}, {"text": "gone", "accepted": 1, "said": 2}],
            },
            "det": {name: curve | {"miss_rate": misses[name]} for name in misses},
        },
        "size": "large", "model": {"kind": "encoder"},
        "in_words_parts": [worded("It was measured, and how.").parts()],
        "parity": {"pt_against_onnx": 1e-6}, "devices": {}, "devices_left_out": [],
    }  # fmt: skip


def make_bundle(path: Path, phrase: str, files: Mapping[str, bytes] | None = None) -> None:
    """Make a bundle with valid digests and more ``files``. Its model is not a real one."""
    contents = {
        name: name.encode()
        for name in ("model.onnx", "model.int8.onnx", "model.pt", "detect.py", "det.png", "MODEL_CARD.md")
    } | dict(files or {})
    manifest: dict[str, Any] = dict.fromkeys(MANIFEST_KEYS, 1) | {
        "sample_rate": 16_000,
        "schema": SCHEMA,
        "phrase": phrase,
        "thresholds": [{"fa_per_day": rate, "threshold": level} for rate, level in RATES.items()],
        "default_fa_per_day": 12.0,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    manifest["digest"] = manifest_digest(manifest)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (contents | {"manifest.json": json.dumps(manifest).encode()}).items():
            archive.writestr(name, content)


def make_version(user: User, data: Path, number: int = 1, phrase: str = "hey compass", **changes: Any) -> Version:
    """Make a version with all its files, as a training run leaves them."""
    report = make_report(phrase, **changes)
    run = RUN if number == 1 else f"{RUN}-{number}"
    folder, job_folder = data / "models" / run, data / "jobs" / run
    folder.mkdir(parents=True)
    job_folder.mkdir(parents=True)
    make_bundle(folder / f"{run}.zip", phrase)
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "report.html").write_text("<!doctype html><script>alert(1)</script>")
    (folder / "model.pt").write_bytes(b"model.pt")
    (job_folder / "clips.csv").write_text(
        "clip_id,path,label,bucket,engine,voice,speaker,split,text,licence,seconds,reused,corpus\n"
        f'7,{data}/clips/ab/abcd.flac,1,positive,espeak,en+f3,f3,train,"héy, compass",GPL-3.0,1.25,0,\n'
    )
    detector, _ = Detector.objects.get_or_create(user=user, phrase=phrase, language="en")
    job = Job.objects.create(
        user=user, kind="train", queue="training", title=phrase, state=Job.State.DONE,
        spec={"choices": {"phrase": phrase}}, result={"seconds": {"train": 7.5}, "bundle": str(folder / f"{run}.zip")},
    )  # fmt: skip
    return Version.objects.create(
        detector=detector, number=number, job=job, folder=f"models/{run}", bundle=f"{run}.zip",
        summary=report["summary"],
    )  # fmt: skip


def address(name: str, version: Version, *more: str) -> str:
    numbers = (
        [version.detector_id] if name in ("detector", "compare", "delete") else [version.detector_id, version.number]
    )
    return reverse(f"trainer:{name}", args=[*numbers, *more])


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def make_comparison(*versions: Version, left_out: dict[str, str] | None = None, **stream: Any) -> dict[str, Any]:
    """Write a comparison like ``measuring/comparison.py``, in the first version's folder; later versions miss more."""
    curve = {"threshold": LEVELS, "fa_per_hour": [20.0, 4.0, 1.0, 0.5, 0.0], "miss_rate": [0.0, 0.05, 0.1, 0.2, 0.6]}
    figures = [
        {
            "run": version.path.name, "threshold": 0.6, "false_alarms": 1, "hours": 3.0, "det": curve,
            "fa_per_hour": poisson_interval(1, 3.0).as_dict(), "utterances": 50, "renderings": 100,
            "missed": 10 + 10 * place, "marked_fired": place, "marked_missed": place,
            "miss_rate": {name: a_share(5 + 5 * place, 50) for name in results.CONDITIONS},
            "people": a_share(place, 7), "confusables": a_share(2, 20),
        }
        for place, version in enumerate(versions)
    ]  # fmt: skip
    about = {
        "utterances": 50, "renderings": 100, "people": 7, "voices": 9, "confusables": 20, "hours": 3.0,
        "negative_hours": 1.25, "marked": 2, "marked_misses": 3,
    }  # fmt: skip
    made = {
        "asked": [version.path.name for version in versions] + list(left_out or ()), "stream": {**about, **stream},
        "versions": figures, "left_out": left_out or {}, "created": "2026-01-02T03:04:05+00:00",
    }  # fmt: skip
    (versions[0].path / "comparison.json").write_text(json.dumps(made))
    return made

"""Operations on detectors and their versions, used by the pages and the API."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db.models import F, Max
from django.http import Http404
from django.utils.translation import gettext as _

from core.data_folder import remove_deleted, rename_deleted, storing
from core.errors import HarkError
from db.db_api import Library, library_exists
from db.records import Clip
from pipeline.engine_setup import voices_to_install
from pipeline.training.configuration.run_config import USUAL, RunConfig, chosen
from pipeline.training.configuration.specification import as_spec, run_config
from pipeline.training.measuring.figures import ComparedVersion, Comparison, is_better
from pipeline.training.workspace.run_folder import RunFolder
from webui.accounts.audit import Action, record
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.jobs import services as jobs
from webui.jobs.models import Job
from webui.organizations.access import visible
from webui.trainer.models import MAX_NOTE_LENGTH, Detector, Version, in_use_of
from webui.transactions import serialized

log = logging.getLogger(__name__)

TRAINING_KINDS = ("train", "retrain")  # kinds of jobs that make a version


def configuration(**choices: Any) -> RunConfig:
    """Return the run's configuration with the phrase normalized. Raises HarkError if it cannot be trained.

    Raises TypeError if a name is not a user's choice (:data:`pipeline.training.configuration.run_config.CHOICES`).
    """
    from pipeline.training.recipes.prepared import prepare

    return prepare(chosen(USUAL, choices))


def only_trained() -> str:
    """Return the reason why phrases of some languages cannot be tried without training."""
    return _("Without training, Hark detects English phrases only.")


def detector_of(user: User, detector_id: int, who: Callable[..., Detector] = visible) -> Detector:
    """Return a detector to which the user has the access that ``who`` checks. Raises the errors of ``who``."""
    return who(Detector.objects.select_related("user", "organization"), user, id=detector_id)


def version_of(user: User, detector_id: int, number: int, who: Callable[..., Version] = visible) -> Version:
    """Return a version to which the user has the access that ``who`` checks. Raises the errors of ``who``."""
    versions = Version.objects.select_related("detector__user", "detector__organization", "job")
    # detector__id, not detector_id, because the latter fails for a number too large for the database.
    return who(versions, user, detector__id=detector_id, number=number)


def served_version(*, detector_id: int, number: int, key: str) -> Version:
    """Return the version to whose files for devices the key gives access. Raises Http404 if there is none."""
    versions = Version.objects.select_related("detector__user")
    version = versions.filter(detector__id=detector_id, number=number, detector__user__is_active=True).first()
    if version is None or not version.opens_with(key):
        raise Http404
    return version


def serve(*, version: Version, to: Version.Served) -> None:
    """Set who may fetch the files for devices. A revoked token is never valid again."""
    version.served = to
    version.save(update_fields=["served"])
    record(Action.DEVICE_ADDRESS, what=_numbers(version) + f": {to}", about=version.detector.user)
    if to == Version.Served.NOBODY:
        renew_link(version=version)


def renew_link(*, version: Version) -> None:
    """Replace the token for devices. The previous URL stops working."""
    Version.objects.filter(pk=version.pk).update(link_number=F("link_number") + 1)
    record(Action.DEVICE_ADDRESS, what=_numbers(version) + ": new", about=version.detector.user)


def _numbers(version: Version) -> str:
    return f"{version.detector_id}/{version.number}"


def plan(*, user: User, config: RunConfig, targets: Sequence[str] = ()) -> Job:
    """Queue a job that plans a training run. The job's page shows ``targets``, the chosen devices."""
    spec = {**as_spec(config), "targets": list(targets)}
    return jobs.submit(user=user, kind="plan", title=config.phrase, spec=spec)


def train(*, user: User, config: RunConfig, install_voices: bool = False, targets: Sequence[str] = ()) -> Job:
    """Queue a training run; with ``install_voices``, the owner's job first installs missing neural voices."""
    installs = install_voices and user.is_owner and bool(voices_to_install(config))
    spec = {**as_spec(config), "install_voices": installs, "targets": list(targets)}
    return jobs.submit(user=user, kind="train", title=config.phrase, spec=spec)


def active_training(plan: Job) -> Job | None:
    """Return the active training run of a plan, if any."""
    active_jobs = Job.objects.filter(user=plan.user, kind="train", state__in=Job.GOING)
    return next((job for job in active_jobs if plan.spec.items() <= job.spec.items()), None)


def retrain(*, version: Version) -> Job:
    """Queue a job that trains the next version from this one and the marked clips."""
    detector, run = version.detector, Path(version.folder).name
    config = RunFolder(user_data(detector.user), run).config()  # with the devices, for the job's list of stages
    config = config or RunConfig(detector.phrase, detector.language)
    return _submit(detector, "retrain", {**as_spec(config), "run": run})


def _submit(detector: Detector, kind: str, spec: dict[str, Any]) -> Job:
    """Queue a job on a detector, shared as the detector is now: its user may just have withdrawn it."""
    with serialized():
        organization = Detector.objects.filter(pk=detector.pk).values_list("organization", flat=True).first()
        spec = {"phrase": detector.phrase, "language": detector.language, **spec}
        return jobs.submit(user=detector.user, kind=kind, title=detector.phrase, spec=spec, organization=organization)


def runs_to_compare(versions: Sequence[Version]) -> list[str]:
    """Return the runs of a detector's versions (newest first) to compare, including the one in use."""
    from pipeline.training.measuring.comparison import MAX_VERSIONS

    chosen = list(versions[:MAX_VERSIONS])
    in_use = in_use_of(versions)
    if in_use is not None and in_use not in chosen:
        chosen[-1] = in_use
    return [Path(version.folder).name for version in chosen]


def compare(*, detector: Detector) -> Job:
    """Queue a measurement of a detector's versions on one stream. Raises HarkError if there is only one."""
    versions = list(detector.versions.all())
    if len(versions) < 2:
        raise HarkError(
            _("There is nothing to compare."),
            _("This detector has one version."),
            _("Retrain it or train its phrase again, then compare."),
        )
    return _submit_comparison(detector, versions)


def _submit_comparison(detector: Detector, versions: Sequence[Version], **more: Any) -> Job:
    return _submit(detector, "compare", {"detector": detector.pk, "runs": runs_to_compare(versions), **more})


def compared(job: Job) -> None:
    """Apply a finished comparison: use a new version if the comparison shows that it is better.

    Called in the job's transaction.
    """
    assert job.result is not None
    new = Version.objects.filter(detector=job.spec["detector"], number=job.spec.get("decides")).first()
    in_use = None if new is None else new.detector.current
    if new is None or in_use is None or in_use.number >= new.number:
        return
    by_run: dict[str, ComparedVersion] = {figures["run"]: figures for figures in job.result["versions"]}
    figures, old = (by_run.get(Path(version.folder).name) for version in (new, in_use))
    if figures and old and is_better(figures, old):
        use(version=new)


def use(*, version: Version) -> None:
    """Put a version into use: withdraw newer ones, because the newest offered version is the one in use."""
    siblings = Version.objects.filter(detector=version.detector)
    with serialized():
        siblings.filter(number__gt=version.number).update(offered=False)
        siblings.filter(pk=version.pk).update(offered=True)


def comparison_of(versions: Sequence[Version]) -> tuple[Comparison | None, bool]:
    """Return the newest comparison of the versions (newest first), and whether a new one would include others."""
    from pipeline.training.measuring.comparison import COMPARISON

    for version in versions:
        try:
            comparison: Comparison = json.loads((version.path / COMPARISON).read_text("utf-8"))
        except (OSError, ValueError):
            continue
        return comparison, comparison["asked"] != runs_to_compare(versions)
    return None, True


def active_comparison(detector: Detector) -> Job | None:
    """Return the active job that compares the versions of a detector, if any."""
    active_jobs = Job.objects.filter(user=detector.user, kind="compare", state__in=Job.GOING)
    return active_jobs.filter(spec__detector=detector.pk).first()


def trained(job: Job) -> None:
    """Make the bundle of a finished training run the newest version. Called in the job's transaction."""
    assert job.result is not None
    config = run_config(job.spec)
    new = _new_version(job.user, job.result, config.phrase, config.language, job)
    if new is not None:
        _decide(new, job.result)


def job_has_ended(sender: object, job: Job, **more: Any) -> None:
    if job.state == Job.State.DONE and job.kind in TRAINING_KINDS:
        trained(job)
    elif job.state == Job.State.DONE and job.kind == "compare":
        compared(job)


def in_use(detectors: Iterable[Detector]) -> dict[int, Version]:
    """Return the version in use of each detector, by detector id, with the fields that lists show."""
    of_these = Version.objects.filter(detector__in=[each.pk for each in detectors])
    shown = of_these.only("detector_id", "number", "offered", "summary", "created_at")
    by_detector: dict[int, list[Version]] = {}
    for version in shown:
        by_detector.setdefault(version.detector_id, []).append(version)
    return {detector: current for detector, versions in by_detector.items() if (current := in_use_of(versions))}


def adopt_runs() -> int:
    """Create versions from the owner's training runs on the command line; return how many.

    ``./hark serve`` calls it every few seconds. Runs of the portal's jobs become versions when the job is done.
    """
    owner = User.objects.filter(is_owner=True).first()
    if owner is None or Job.objects.filter(user=owner, kind__in=TRAINING_KINDS, state__in=Job.GOING).exists():
        return 0
    data = user_data(owner)
    known = set(Version.objects.filter(detector__user=owner).values_list("folder", flat=True))
    adopted = 0
    newest: dict[int, tuple[Version, dict[str, Any]]] = {}  # newest version of each detector
    for run in sorted(RunFolder.all_in(data), key=_time_of):
        if f"models/{run.name}" in known:
            continue
        try:
            result = json.loads(run.result.read_text(encoding="utf-8"))
            bundle = Path(result["bundle"])
            report = json.loads(bundle.with_name("report.json").read_text(encoding="utf-8"))
            if bundle.is_file() and bundle.parent == run.results:
                new = _new_version(owner, result, str(result["phrase"]), str(report["language"]), None)
                if new is not None:
                    newest[new.detector_id] = new, result
                adopted += 1
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # the run was moved, deleted or truncated
    for new, result in newest.values():
        _decide(new, result)
    return adopted


def _time_of(run: RunFolder) -> float:
    """Return the time at which a run ended [seconds since 1970]; 0 without its result."""
    try:
        return run.result.stat().st_mtime
    except OSError:
        return 0.0


def _new_version(user: User, result: dict[str, Any], phrase: str, language: str, job: Job | None) -> Version | None:
    """Create the version of a result; return None if it already exists."""
    bundle = Path(result["bundle"])
    folder = f"models/{bundle.parent.name}"  # the result has the path on the machine that trained
    with serialized():
        detector, _new = Detector.objects.get_or_create(user=user, phrase=phrase, language=language)
        if detector.versions.filter(folder=folder).update(job=job):
            return None
        if job is not None and detector.organization_id:
            Job.objects.filter(pk=job.pk).update(organization=detector.organization_id)
        newest = detector.versions.aggregate(newest=Max("number"))["newest"] or 0
        current = detector.current
        return detector.versions.create(
            job=job,
            number=newest + 1,
            folder=folder,
            bundle=bundle.name,
            summary=result["metrics"],
            # Except for the first one, only if its run found it better than the one in use, on the same streams.
            offered=current is None or (_was_compared_with(current, result) and bool(result["compared"]["better"])),
        )


def _was_compared_with(version: Version, result: dict[str, Any]) -> bool:
    return "compared" in result and result["compared"]["run"] == Path(version.folder).name


def _decide(new: Version, result: dict[str, Any]) -> None:
    """Queue a comparison of a new version with the one in use, unless the run of the new one compared them."""
    in_use = new.detector.current
    if in_use is None or in_use == new or _was_compared_with(in_use, result):
        return
    try:
        _submit_comparison(new.detector, list(new.detector.versions.all()), decides=new.number)
    except HarkError as error:  # too many jobs wait; the version's page then says that it was not compared
        log.warning("version %s was not compared: %s", new, error)


def remove_detector(*, detector: Detector) -> None:
    """Delete a detector, its versions and their folders. Its clips remain, and a running training job continues.

    Raises HarkError if its files cannot be removed.
    """
    with _folders_removed(detector.versions.select_related("detector__user"), detector.user):
        record(Action.DETECTOR_DELETED, what=str(detector.pk), about=detector.user)
        detector.delete()


def remove_version(*, version: Version) -> None:
    """Delete a version and its folders; if it was in use, the newest other offered one is.

    Raises HarkError if it is the only one, or its files cannot be removed.
    """
    with _folders_removed([version], version.detector.user):
        if not version.detector.versions.exclude(pk=version.pk).exists():
            raise HarkError(
                _("This version cannot be deleted."),
                _("It is the only one of its detector."),
                _("Delete the detector instead."),
            )
        record(Action.VERSION_DELETED, what=f"{version.detector_id}, {version.number}", about=version.detector.user)
        version.delete()


@contextmanager
def _folders_removed(versions: Iterable[Version], user: User) -> Iterator[None]:
    """Run the block, which deletes these versions, in a transaction, then remove their folders.

    Raises HarkError if a folder cannot be removed. It is renamed by then, and the server's next start removes it.
    """
    data = user_data(user)
    with storing("removing the detector's files"):
        with serialized():
            # Never remove anything but a folder of models, whatever the database contains.
            found = [(version.path, RunFolder(data, version.path.name)) for version in versions]
            runs = [run for path, run in found if path.resolve().parent == run.results.parent.resolve()]
            yield
            for run in runs:  # before the commit, or adopt_runs of another process would create the version again
                rename_deleted(run.path)
        for run in runs:
            rename_deleted(run.results)
        for folder in [folder for run in runs for folder in (run.path, run.results)]:
            remove_deleted(folder.parent, folder.name)


def set_note(*, version: Version, note: str) -> None:
    """Store the user's note about a version. Raises HarkError if it is too long."""
    note = " ".join(note.split())
    if len(note) > MAX_NOTE_LENGTH:
        raise HarkError(
            _("The note is too long."),
            _("It has more than %(most)d characters.") % {"most": MAX_NOTE_LENGTH},
            _("Shorten it."),
        )
    Version.objects.filter(pk=version.pk).update(note=note)
    version.note = note


def clips_of_run(job: Job, limit: int) -> list[Clip]:
    """Return clips that a training run has synthesized so far: the newest of the phrase, then the newest others."""
    data = user_data(job.user)
    if job.kind != "train" or not library_exists(data):
        return []
    run = Path(job.result["bundle"]).stem if job.result else RunFolder.of(data, run_config(job.spec)).name
    with Library(data) as library:
        clips = [*library.generated_by(f"{run}:positive", limit // 2), *library.generated_by(run, limit)]
    return list({clip.id: clip for clip in clips}.values())[:limit]

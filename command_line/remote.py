"""``remote``: train on a Hark that runs elsewhere, through its API, as if it were here."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from command_line.options import Commands, Parser, add_command, add_group
from command_line.program import PROGRAM
from command_line.train import run_options, wanted_run
from core.data_folder import atomic_path, storing
from core.errors import HarkError

if TYPE_CHECKING:
    from command_line.console import Screen

SERVER = "http://127.0.0.1:8000"
LISTED = 20
EVERY_S = 1.0  # between two questions to the server
PATIENCE_S = 300.0  # with a server that is away for a moment
LARGEST_BUNDLE = 1_000_000_000  # bytes
GOING = ("queued", "running", "cancelling")
ONLY_HERE = ("hold_out", "growth_constant", "start_from")  # of a run's configuration: the API does not take it


def register(commands: Commands[Parser]) -> None:
    """Add the commands of this module."""
    nothing: dict[str, Any] = {"server": None, "token_file": None}
    group = add_group(commands, "remote", "train on a Hark that runs elsewhere", run_list, **nothing)
    train = add_command(group, "train", "PHRASE [options]", "train a detector there and fetch its bundle", run_train)
    run_options(train)
    follow = add_command(group, "follow", "JOB [options]", "come back to a run and fetch its bundle", run_follow)
    cancel = add_command(group, "cancel", "JOB", "end a run", run_cancel)
    rows = add_command(group, "list", "", "show what runs there, and what ran", run_list)
    for parser in (follow, cancel):
        parser.add_argument("job", metavar="JOB", type=_job_id, help="its id, as train and list show it")
    for parser in (train, follow):
        what = "where the bundle goes (default: here, by its name)"
        parser.add_argument("--out", type=Path, metavar="FILE", help=what)
    for parser in (train, follow, cancel, rows):
        parser.add_argument("--server", metavar="URL", help=f"where Hark runs (default: HARK_SERVER, else {SERVER})")
        what = "holds an API token with the scopes read, train (else HARK_TOKEN)"
        parser.add_argument("--token-file", type=Path, metavar="FILE", help=what)


def _job_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:60]!r} is no id of a job") from error


# Commands


def run_train(options: argparse.Namespace, screen: Screen) -> int:
    """``remote train PHRASE``."""
    server = connect(options, screen)
    wish = {name: value for name, value in asdict(wanted_run(options)).items() if name not in ONLY_HERE}
    _check_out(options.out)
    job = server.ask("POST", "/jobs", wish, key=str(uuid4()))  # asked twice, the key keeps it from being made twice
    return _follow(server, job, options, screen)


def run_follow(options: argparse.Namespace, screen: Screen) -> int:
    """``remote follow JOB``."""
    server = connect(options, screen)
    _check_out(options.out)
    return _follow(server, server.ask("GET", f"/jobs/{options.job}"), options, screen)


def run_cancel(options: argparse.Namespace, screen: Screen) -> int:
    """``remote cancel JOB``."""
    job = connect(options, screen).ask("POST", f"/jobs/{options.job}/cancel")
    screen.result({"job": job["id"], "state": job["state"]})
    said = {"cancelled": "It is cancelled.", "cancelling": "It ends in a moment."}
    screen.show(said.get(job["state"], f"It had ended before: {job['state']}."))
    return 0


def run_list(options: argparse.Namespace, screen: Screen) -> int:
    """``remote`` and ``remote list``."""
    from command_line.console import table

    found = connect(options, screen).ask("GET", f"/jobs?limit={LISTED}")
    screen.result({"jobs": found["items"], "total": found["total"]})
    if screen.json_wanted:
        return 0
    if not found["items"]:
        screen.show("Nothing has run there for you yet.")
        return 0
    rows = [[job["id"], job["kind"], job["state"], job["title"], job["created_at"][:16]] for job in found["items"]]
    screen.show(table(["job", "kind", "state", "phrase", "since (UTC)"], rows))
    if found["total"] > len(rows):
        screen.note(f"The newest {len(rows)} of {found['total']}.")
    return 0


# Following a run


def _follow(server: Portal, job: Mapping[str, Any], options: argparse.Namespace, screen: Screen) -> int:
    from command_line.application import INTERRUPTED
    from command_line.console import command

    where = ["--server", options.server] if options.server else []
    where += ["--token-file", str(options.token_file)] if options.token_file else []
    again, end = (command("remote", word, str(job["id"]), *where) for word in ("follow", "cancel"))
    if job["state"] in GOING:
        screen.note(f"Job {job['id']}: Ctrl-C leaves it running.")
    try:
        job = _watch(server, str(job["id"]), screen)
        if job["state"] != "done":
            raise _not_done(job)
        if job["result"] is None:
            raise HarkError(
                "There is no bundle.", f"A job of the kind {job['kind']} makes none.", f"{PROGRAM} remote list"
            )
        return _fetch(server, job, options, screen)
    except KeyboardInterrupt:
        screen.result(
            {
                "error": {"what": "Stopped looking.", "why": "It was interrupted.", "what_to_do": again},
                "job": job["id"],
            }
        )
        screen.stopped(f"stopped looking; the job goes on.\n  come back: {again}\n  end it:    {end}")
        return INTERRUPTED


def _watch(server: Portal, job_id: str, screen: Screen) -> dict[str, Any]:
    """Draw the events of a job until it has ended; ask again for a while where the server is away."""
    from core.http import HttpError

    after, away_since = 0, 0.0
    with screen.reporter() as reporter:
        while True:
            try:
                said = server.ask("GET", f"/jobs/{job_id}/events?after={after}")
            except HttpError as error:
                if not error.again or (away_since and monotonic() > away_since + PATIENCE_S):
                    raise
                if not away_since:
                    reporter.log(f"{error.what} It is tried again; the job is not touched by that.", "warning")
                away_since = away_since or monotonic()
                sleep(3 * EVERY_S)
                continue
            away_since, after, job = 0.0, said["last"], said["job"]
            for event in said["events"]:
                reporter.repeat(event)
            if said["more"]:
                continue
            if job["state"] not in GOING:
                return dict(job)
            if job["total"]:
                reporter.progress(job["done"], job["total"], job["eta_s"])
            sleep(EVERY_S)


def _not_done(job: Mapping[str, Any]) -> HarkError:
    if job["error"]:
        return HarkError(**{name: job["error"][name] for name in ("what", "why", "what_to_do")})
    return HarkError(
        f"The job has ended without a detector: it is {job['state']}.",
        "It was cancelled." if job["state"] == "cancelled" else "It gave no reason.",
        "Train the phrase again; it goes on from where it was.",
    )


def _fetch(server: Portal, job: Mapping[str, Any], options: argparse.Namespace, screen: Screen) -> int:
    from command_line.console import facts, percent, short_path
    from command_line.train import chosen_targets, headline, show_targets

    place = f"/detectors/{job['result']['detector']}/versions/{job['result']['version']}"
    version = server.ask("GET", place)
    bundle = server.download(f"{place}/bundle", _target(options.out, version["bundle"]))
    chosen = chosen_targets(bundle.absolute(), getattr(options, "targets", ()))
    result = {
        "phrase": job["title"],
        "job": job["id"],
        "detector": version["detector"],
        "version": version["number"],
        "bundle": str(bundle.absolute()),
        "metrics": version["metrics"],
    }
    if chosen:
        result["for"] = {target.name: target.as_dict() for target in chosen}
    screen.result(result)
    rows = [
        ("missed", percent(version["metrics"]["miss_rate"]["value"])),
        ("false alarms an hour", f"{version['metrics']['fa_per_hour']['value']:.2f}"),
        ("report", f"{server.url}/detectors/{version['detector']}/{version['number']}"),
        ("bundle", ""),
    ]
    screen.show("", headline(job["title"], version["metrics"]), "", facts(rows))
    screen.show_line(short_path(bundle.absolute()))
    show_targets(chosen, screen)
    return 0


def _check_out(out: Path | None) -> None:
    """Before anything runs: a place that cannot be written to."""
    folder = Path.cwd() if out is None else out if out.is_dir() else out.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise HarkError(
            "The bundle could not be written.",
            f"{folder} is no folder, or may not be written to.",
            "Give another --out.",
        )


def _target(out: Path | None, name: str) -> Path:
    # The name comes from elsewhere, so it may only be a name.
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", Path(name).name).lstrip(".") or "bundle.zip"
    if out is None:
        return Path.cwd() / plain
    return out / plain if out.is_dir() else out


# The server


class Portal:
    """The API of a Hark that runs elsewhere."""

    def __init__(self, url: str, token: str) -> None:
        from core.http import Server

        self.url = url
        check = f"Check the address after --server, and that {PROGRAM} serve runs there."
        self.server = Server(f"{url}/api/v1", url, check, token, largest=LARGEST_BUNDLE, attempts=2)

    def ask(self, method: str, path: str, body: Any = None, key: str | None = None) -> dict[str, Any]:
        """The answer of an operation.

        Raises:
            HttpError: it is away, or it refused, in its own words.
            HarkError: what answers is no Hark.
        """
        headers = {"Accept": "application/json", **({"Idempotency-Key": key} if key else {})}
        with self._explained():
            answer = self.server.ask(method, path, headers, json=body)
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise _no_hark(self.url, "what it answers is no JSON object")
        return said

    def send(self, method: str, path: str) -> None:
        """Do an operation without an answer. Raises as :meth:`ask`."""
        with self._explained():
            self.server.ask(method, path, {"Accept": "application/json"})

    def download(self, path: str, target: Path) -> Path:
        """Fetch a file, whole or not at all."""
        with storing("writing the bundle"), self._explained(), atomic_path(target) as partial:
            self.server.download(path, partial, {"Accept": "application/zip"})
        return target

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Puts what the portal says of its refusal in the place of what HTTP says."""
        from core.http import HttpError

        try:
            yield
        except HttpError as error:
            if error.status < 400:
                raise
            try:
                said = json.loads(error.body)
                error.what, error.why, error.what_to_do = (str(said[name]) for name in ("what", "why", "what_to_do"))
            except (ValueError, KeyError, TypeError):
                if not error.again or error.status == 500:
                    raise _no_hark(self.url, f"it answers {error.status}") from error
            raise


def _no_hark(url: str, why: str) -> HarkError:
    return HarkError(f"There is no Hark at {url}.", f"{why[0].upper()}{why[1:]}.", "Check the address after --server.")


def connect(options: argparse.Namespace, screen: Screen) -> Portal:
    """The portal that --server, or else HARK_SERVER, names. Raises HarkError where that is no address."""
    from core.http import web_address

    text = (options.server or os.environ.get("HARK_SERVER") or SERVER).strip().rstrip("/")
    parts = web_address(text)
    if parts is None:
        raise HarkError(f"{text[:80]!r} is no address.", "A server is named by its URL.", f"Try --server {SERVER}.")
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        screen.note(f"Without https the token can be read on the way to {parts.hostname}.")
    return Portal(text, token_of(options.token_file))


def token_of(file: Path | None) -> str:
    """The API token in a file, else that of HARK_TOKEN. Raises HarkError where there is none."""
    try:
        text = os.environ.get("HARK_TOKEN", "") if file is None else file.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = f"{file}: {getattr(error, 'strerror', error)}."
        raise HarkError("The token could not be read.", why, "Check --token-file.") from error
    text = text.strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise HarkError(
            "There is no token.",
            f"{file} holds none." if file else "HARK_TOKEN is not set.",
            "Make one on your account's page, or there with ./hark admin token --name NAME.",
        )
    return text

"""``remote``: train on a Hark that runs elsewhere, through its API, as if it were here."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from command_line.asr import add_method
from command_line.options import Commands, Parser, add_command, add_group, language, names, seed
from command_line.program import PROGRAM
from core.data_folder import atomic_path, storage_error
from core.errors import HarkError
from pipeline.training.config import AUTO_SIZE, EFFORTS, SIZES

if TYPE_CHECKING:
    from command_line.console import Screen
    from core.events import Reporter

SERVER = "http://127.0.0.1:8000"
LISTED = 20
EVERY_S = 1.0  # the server is asked so often
PATIENCE_S = 300.0  # with a server that is away for a moment
LARGEST_BUNDLE = 1_000_000_000  # bytes
GOING = ("queued", "running", "cancelling")


def register(commands: Commands[Parser]) -> None:
    """Add the commands of this module."""
    group = add_group(commands, "remote", "train on a Hark that runs elsewhere", run_list, **_DEFAULTS)
    train = add_command(group, "train", "PHRASE [options]", "train a detector there and fetch its bundle", run_train)
    train.add_argument("phrase", nargs="+", metavar="PHRASE", help="the keyphrase")
    train.add_argument("--effort", choices=tuple(EFFORTS), default="standard", help="how much work (default: standard)")
    train.add_argument("--language", type=language, default="en", help="default: en")
    train.add_argument("--seed", type=seed, default=0, metavar="N", help="the same number, the same run")
    train.add_argument("--size", choices=(AUTO_SIZE, *SIZES), default=AUTO_SIZE, help="of the detector (default: auto)")
    train.add_argument("--from-scratch", action="store_true", help="without the shipped trunk and bank")
    train.add_argument("--no-mining", action="store_true", help="use no real speech of its library")
    add_method(train, "--mining-method")
    train.add_argument("--engines", type=names, default=(), metavar="A,B", help="speech engines to use")
    _out(train)
    follow = add_command(group, "follow", "JOB [options]", "come back to a run and fetch its bundle", run_follow)
    _job(follow)
    _out(follow)
    cancel = add_command(group, "cancel", "JOB", "end a run", run_cancel)
    _job(cancel)
    rows = add_command(group, "list", "", "show what runs there, and what ran", run_list)
    for parser in (train, follow, cancel, rows):
        _server(parser)


_DEFAULTS: dict[str, Any] = {"server": None, "token_file": None}


def _server(parser: Parser) -> None:
    parser.add_argument("--server", metavar="URL", help=f"where Hark runs (default: HARK_SERVER, else {SERVER})")
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds an API token with the scopes read, train (else HARK_TOKEN)",
    )


def _job(parser: Parser) -> None:
    parser.add_argument("job", metavar="JOB", type=_job_id, help="its id, as train and list show it")


def _out(parser: Parser) -> None:
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the bundle goes (default: here, by its name)")


def _job_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:60]!r} is no id of a job") from error


# Commands


def run_train(options: argparse.Namespace, screen: Screen) -> int:
    """``remote train PHRASE``."""
    server = _connect(options, screen)
    wish = {
        "phrase": " ".join(options.phrase),
        "effort": options.effort,
        "language": options.language,
        "seed": options.seed,
        "size": options.size,
        "mining": not options.no_mining,
        "mining_method": options.mining_method,
        "from_scratch": options.from_scratch,
        "engines": list(options.engines),
    }
    _check_out(options.out)
    job = server.ask("POST", "/jobs", wish, key=str(uuid4()))  # asked twice, the key keeps it from being made twice
    return _follow(server, job, options, screen)


def run_follow(options: argparse.Namespace, screen: Screen) -> int:
    """``remote follow JOB``."""
    server = _connect(options, screen)
    _check_out(options.out)
    return _follow(server, server.ask("GET", f"/jobs/{options.job}"), options, screen)


def run_cancel(options: argparse.Namespace, screen: Screen) -> int:
    """``remote cancel JOB``."""
    job = _connect(options, screen).ask("POST", f"/jobs/{options.job}/cancel")
    screen.result({"job": job["id"], "state": job["state"]})
    said = {"cancelled": "It is cancelled.", "cancelling": "It ends in a moment."}
    screen.show(said.get(job["state"], f"It had ended before: {job['state']}."))
    return 0


def run_list(options: argparse.Namespace, screen: Screen) -> int:
    """``remote`` and ``remote list``."""
    from command_line.console import table

    found = _connect(options, screen).ask("GET", f"/jobs?limit={LISTED}")
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
        return _fetch(server, job, options.out, screen)
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
    """Draw what a job says until it has ended."""
    after = 0
    with screen.reporter() as reporter:
        while True:
            said = server.patiently(
                f"/jobs/{job_id}/events?after={after}", lambda words: reporter.log(words, "warning")
            )
            after, job = said["last"], said["job"]
            for event in said["events"]:
                _draw(event, reporter)
            if said["more"]:
                continue
            if job["state"] not in GOING:
                return dict(job)
            if job["total"]:
                reporter.progress(job["done"], job["total"], job["eta_s"])
            sleep(EVERY_S)


def _draw(event: Mapping[str, Any], reporter: Reporter) -> None:
    kind = event.get("event")
    if kind == "stage":
        reporter.stage(event["name"], event["message"])
    elif kind == "log":
        reporter.log(event["message"], event["level"])
    elif kind == "metric":
        reporter.metric(event["name"], event["value"])


def _not_done(job: Mapping[str, Any]) -> HarkError:
    if job["error"]:
        return HarkError(**{name: job["error"][name] for name in ("what", "why", "what_to_do")})
    return HarkError(
        f"The job has ended without a detector: it is {job['state']}.",
        "Somebody cancelled it." if job["state"] == "cancelled" else "It gave no reason.",
        "Train the phrase again; it goes on from where it was.",
    )


def _fetch(server: Portal, job: Mapping[str, Any], out: Path | None, screen: Screen) -> int:
    from command_line.console import facts, percent, short_path
    from pipeline.training.verdict import misses_most

    place = f"/detectors/{job['result']['detector']}/versions/{job['result']['version']}"
    version = server.ask("GET", place)
    bundle = server.download(f"{place}/bundle", _target(out, version["bundle"]))
    result = {
        "phrase": job["title"],
        "job": job["id"],
        "detector": version["detector"],
        "version": version["number"],
        "bundle": str(bundle.absolute()),
        "metrics": version["metrics"],
    }
    screen.result(result)
    missed = version["metrics"].get("miss_rate", {}).get("value")
    alarms = version["metrics"].get("fa_per_hour", {}).get("value")
    rows: list[tuple[str, object]] = []
    if missed is not None:
        rows.append(("missed", percent(missed)))
    if alarms is not None:
        rows.append(("false alarms an hour", f"{alarms:.2f}"))
    rows += [("report", f"{server.url}/detectors/{version['detector']}/{version['number']}"), ("bundle", "")]
    if misses_most(version["metrics"]):
        headline = f"✗ {job['title']} has a detector that misses most of what is said in quiet: not for use"
    else:
        headline = f"✓ {job['title']} has its detector"
    screen.show("", headline, "", facts(rows))
    screen.show_line(short_path(bundle.absolute()))
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

    def patiently(self, path: str, say: Callable[[str], None]) -> dict[str, Any]:
        """What GET answers, asked again for a while where the server is away; ``say`` is told of it once."""
        from core.http import HttpError

        until, said = monotonic() + PATIENCE_S, False
        while True:
            try:
                return self.ask("GET", path)
            except HttpError as error:
                if not error.again or monotonic() > until:
                    raise
                if not said:
                    say(f"{error.what} It is tried again; the job is not touched by that.")
                said = True
                sleep(3 * EVERY_S)

    def download(self, path: str, target: Path) -> Path:
        """Fetch a file, whole or not at all."""
        try:
            with self._explained(), atomic_path(target) as partial:
                self.server.download(path, partial, {"Accept": "application/zip"})
        except OSError as error:
            raise storage_error(error, "writing the bundle") from error
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


def _connect(options: argparse.Namespace, screen: Screen) -> Portal:
    text = (options.server or os.environ.get("HARK_SERVER") or SERVER).strip().rstrip("/")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 (raises where it is none)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise HarkError(f"{text[:80]!r} is no address.", "A server is named by its URL.", f"Try --server {SERVER}.")
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        screen.note(f"Without https whoever is between here and {parts.hostname} can read the token.")
    return Portal(text, _token(options.token_file))


def _token(file: Path | None) -> str:
    if file is not None:
        try:
            text = file.expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise HarkError(
                "The token could not be read.", f"{file}: {getattr(error, 'strerror', error)}.", "Check --token-file."
            ) from error
    else:
        text = os.environ.get("HARK_TOKEN", "").strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise HarkError(
            "There is no token.",
            f"{file} holds none." if file else "HARK_TOKEN is not set.",
            "Make one on your account's page, or there with ./hark admin token --name NAME.",
        )
    return text

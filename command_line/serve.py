"""``serve``: run and supervise the portal and its workers; ``worker``: run only workers."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from command_line.console import Screen
from command_line.options import Commands, Parser, define_command
from command_line.server_part import Part
from core.child_process import signal_group
from core.data_folder import data_folder, keep_private, storing
from core.errors import HarkError
from core.settings import earlier as earlier_settings
from pipeline.backup import serving
from pipeline.jobs import QUEUES, WEBHOOKS
from webui.setup import ready

PORT = 8000
WEB = "web"
SAME_MACHINE = {
    "127.0.0.1": "localhost",
    "0.0.0.0": "localhost",
    "::": "::1",
}  # host in the URL, for each --host that differs
MAX_FILES, MAX_CONNECTIONS = 65_536, 10_000  # limits of this process; higher ones slow programs that close all files
MAX_BACKLOG = 2048  # connections accepted at a time
MAX_MESSAGE_BYTES = 1 << 18  # bytes per socket message; four times two seconds of audio
RECOVERY_EVERY_S = 5.0
UP_WITHIN_S = 120.0  # seconds within which the web server must start
STUCK_AFTER_S = 60.0  # seconds; a queue that has just started may have to catch up
IN_ORDER_S = 3.0  # seconds for the web server and the workers to end in order
STOPPING_S = 8.0  # seconds in total before they are killed; workers return their jobs


def register(commands: Commands[Parser]) -> None:
    serve = define_command(commands, "serve", "[options]", run_serve)
    setting = os.environ.get("PORT", "")  # set by container platforms
    port = int(setting) if setting.isascii() and setting.isdigit() else PORT
    serve.add_argument(
        "--port", type=int, default=port, metavar="N", help=f"port to listen on (default: PORT, or {PORT})"
    )
    serve.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="0.0.0.0: others can reach it (see docs/operating.md)"
    )
    serve.add_argument("--open", action="store_true", help="open it in the browser once it is running")
    serve.add_argument(
        "--no-workers", action="store_true", help="run the web server alone; ./hark worker runs the jobs"
    )
    worker = define_command(commands, "worker", "[options]", run_worker)
    worker.add_argument(
        "--queue", action="append", choices=QUEUES, help="queue to take jobs from; may be repeated (default: all)"
    )
    worker.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="maximum simultaneous jobs per queue, except webhooks (default: HARK_WORKERS)",
    )


def run_worker(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``worker`` for some queues until Ctrl-C, then return unfinished jobs to their queues."""
    if options.workers is not None:
        if options.workers < 1:
            raise HarkError("No workers can be started.", f"--workers is {options.workers}.", "Give a number above 0.")
        if set(options.queue or QUEUES) == {WEBHOOKS}:
            raise HarkError(
                "--workers has no effect on webhooks.", "That queue has a fixed number.", "Leave out --workers."
            )
        os.environ["HARK_WORKERS"] = str(options.workers)
    with _data_in_use(screen):
        queues = list(dict.fromkeys(options.queue or QUEUES))
        parts = [Part(queue, _WORKERS) for queue in queues]
        from django.conf import settings

        if (options.workers or 0) > settings.JOBS_RUNNING:
            screen.note(f"At most {settings.JOBS_RUNNING} jobs of a queue run at once; HARK_JOBS_RUNNING allows more.")
        try:
            screen.note(f"Running the jobs of {', '.join(queues)} (Ctrl-C stops it)")
            _watch(parts, screen)
        finally:
            _stop(parts)
    return 0


@contextmanager
def _data_in_use(screen: Screen) -> Iterator[None]:
    """Load Django for the data folder, and lock the folder as being served."""
    for setting in earlier_settings.checked():
        if setting.refused:
            screen.note(f"{setting.name} is ignored: {setting.effect} {setting.what_to_do}")
    os.environ["HARK_DATA"] = str(data_folder())  # inherited by the children
    with ExitStack() as lock:
        with storing("starting the portal"):
            keep_private(data_folder())
            lock.enter_context(serving(data_folder()))
        ready()
        yield


def run_serve(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``serve`` until Ctrl-C; a part that ends is restarted."""
    _refuse_taken_port(options.host, options.port)
    with _data_in_use(screen):
        _serve(options, screen)
    return 0


def _serve(options: argparse.Namespace, screen: Screen) -> None:
    from pipeline.speech_service.client import stop as stop_speech_service
    from webui.accounts.services import owner, owner_link
    from webui.recordings.uploading.leftovers import remove_leftovers

    remove_leftovers()
    if not options.no_workers:
        stop_speech_service()  # a service of an older version may still hold its models
    address = _address(options.host, options.port)
    files = _raise_file_limit()
    queues = () if options.no_workers else QUEUES
    parts = [Part(WEB, _web(options, files)), *(Part(queue, _WORKERS) for queue in queues)]
    try:
        screen.note(f"Hark is at {address} (Ctrl-C stops it)")
        first_page = address
        if owner() is None:
            first_page = owner_link(base_url=address)
            screen.note(f"Create the owner's account here, once: {first_page}")
        if options.open:
            opening = threading.Thread(target=_open_when_up, args=(first_page, screen), daemon=True)
            opening.start()
        _watch(parts, screen)
    finally:
        _stop(parts)
        if not options.no_workers:  # other workers may use it; it ends when idle
            stop_speech_service()


def _address(host: str, port: int) -> str:
    """Return the URL at which this machine reaches a portal that listens on ``host``."""
    return f"http://{_netloc(SAME_MACHINE.get(host, host), port)}"


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _open_when_up(page: str, screen: Screen) -> None:
    """Open a page in the browser as soon as its host answers."""
    address = urlsplit(page)
    until = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < until:
        try:
            socket.create_connection((address.hostname, address.port), 1).close()
        except OSError:
            time.sleep(0.2)
        else:
            break
    else:
        return  # the log has the reason
    try:
        # A text browser would take over the terminal. BROWSER is the user's own choice.
        graphical = "BROWSER" in os.environ or type(webbrowser.get()) is not webbrowser.GenericBrowser
        opened = graphical and webbrowser.open(page)
    except webbrowser.Error:
        opened = False
    if not opened:
        screen.note("No browser was found here: open the URL above yourself.")


def _web(options: argparse.Namespace, files: int) -> list[str]:
    # Half of the files are for connections, the others for data. The portal itself reads a proxy's headers about a
    # client, but only if HARK_HTTPS declares a proxy.
    return [
        sys.executable, "-m", "uvicorn", "webui.asgi:application", "--host", options.host, "--port", str(options.port),
        "--log-level", "warning", "--no-access-log", "--timeout-graceful-shutdown", "3", "--ws", "websockets-sansio",
        "--http", "webui.http.connection:Connection", "--limit-concurrency", str(min(files // 2, MAX_CONNECTIONS)),
        # Connections are accepted before the limit applies, and asyncio logs each one for which there is no file.
        "--backlog", str(min(files // 16, MAX_BACKLOG)), "--ws-max-size", str(MAX_MESSAGE_BYTES),
        "--no-proxy-headers",
    ]  # fmt: skip


_WORKERS = [sys.executable, "-m", "webui.jobs.cluster"]


def _raise_file_limit() -> int:
    """Raise the limit of open files (including connections) as far as the system allows; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return MAX_FILES if soft == resource.RLIM_INFINITY else soft


def _watch(parts: list[Part], screen: Screen) -> None:
    from django.conf import settings
    from django.db import close_old_connections

    from webui.account_data.deletion import finish_deletions
    from webui.account_data.exporting import remove_old_exports
    from webui.account_data.retention import delete_what_is_old
    from webui.jobs.services import forget_results, recover, stuck_queues
    from webui.organization_management.services import withdraw_what_is_old
    from webui.trainer.services import adopt_runs
    from webui.webhooks.services import stuck as webhooks_are_stuck

    # Recovering a job may change its files, which a machine that only sends webhooks does not have.
    sees_to_jobs = any(part.name != WEBHOOKS for part in parts)
    next_recovery = next_minute = 0.0
    while True:
        _look_after(parts, screen)
        if time.monotonic() >= next_recovery:
            next_recovery = time.monotonic() + RECOVERY_EVERY_S
            try:
                if sees_to_jobs:
                    count = recover()
                    if count:
                        screen.note(f"Recovered jobs of killed workers: {count}")
                    finish_deletions()
                    remove_old_exports()
                    delete_what_is_old()
                    withdraw_what_is_old()
                    if time.monotonic() >= next_minute:
                        next_minute = time.monotonic() + 60.0
                        forget_results()
                    adopt_runs()  # last, because it reads files from other programs, which may be corrupt
                # With Redis, the workers of each machine check this (webui.jobs.broker).
                stuck = (set() if settings.REDIS else stuck_queues()) | ({WEBHOOKS} if webhooks_are_stuck() else set())
                for part in parts:
                    if part.name in stuck and part.age_s > STUCK_AFTER_S:
                        screen.note(f"The workers for {part.name} take no jobs.")
                        part.kill()  # the part is restarted above
            except Exception as error:  # a full disk, or a locked or unreachable database; retried soon
                screen.note(f"Checking the jobs failed and will be retried: {error}")
            close_old_connections()
        time.sleep(0.3)


def _look_after(parts: list[Part], screen: Screen) -> None:
    """Restart ended parts. Raises HarkError if the web server's first start failed: a restart would fail too."""
    for part in parts:
        message = part.look()
        if message and part.name == WEB and not part.has_settled:
            raise HarkError(
                "The portal could not be started.",
                f"Its web server ended with code {part.process.returncode}; its output is above.",
                "Fix the cause, then run the same command again.",
            )
        if message:
            screen.note(message)


def _stop(parts: list[Part]) -> None:
    # First without their children: one that is killed while it holds a lock would block the others forever.
    for part in parts:
        part.process.terminate()
    began = time.monotonic()
    for part in parts:
        if not _has_ended(part, began + IN_ORDER_S):
            signal_group(part.process.pid, signal.SIGTERM)
    for part in parts:
        _has_ended(part, began + STOPPING_S)
        part.kill()


def _has_ended(part: Part, until: float) -> bool:
    try:
        part.process.wait(max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _refuse_taken_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise HarkError(
                f"The portal cannot listen on {_netloc(host, port)}.",
                f"{error.strerror or error}.",
                f"If another program or another Hark uses this port, choose another: serve --port {port + 1}.",
            ) from error
        except OverflowError as error:
            raise HarkError(f"{port} is not a port.", "Ports are 1 to 65535.", f"Try --port {PORT}.") from error

"""``serve``: the portal, its workers and what watches over them, as one command."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from command_line.options import Commands, Parser, add_command
from core import earlier_settings
from core.child_process import end_with_parent, signal_group
from core.data_folder import REPOSITORY, data_folder
from core.errors import HarkError

if TYPE_CHECKING:
    from command_line.console import Screen

PORT = 8000
RECOVERY_EVERY_S = 5.0
STUCK_AFTER_S = 60.0  # a lane that has just begun has something to catch up with
STOPPING_S = 8.0  # for the web server and the workers to end by themselves


def register(commands: Commands[Parser]) -> None:
    """Add the command of this module."""
    serve = add_command(commands, "serve", "[options]", "start the portal in this browser's reach", run_serve)
    serve.add_argument("--port", type=int, default=PORT, metavar="N", help=f"where it listens (default {PORT})")
    serve.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="0.0.0.0: others may reach it (see docs/portal.md)"
    )


def run_serve(options: argparse.Namespace, screen: Screen) -> int:
    """``serve``: runs until Ctrl-C; a part that ends is started again."""
    _refuse_taken_port(options.host, options.port)
    for setting in earlier_settings.found():
        if not setting.taken:
            screen.note(f"{setting.name} is not taken: {setting.said} {setting.what_to_do}")
    os.environ["HARK_DATA"] = str(data_folder())  # the children's too, wherever they are started
    from pipeline.speech_client import stop as stop_speech_service
    from webui.setup import ready

    ready()
    from webui.accounts.services import owner, owner_link
    from webui.audio.uploads import remove_leftovers
    from webui.jobs.services import LANES

    remove_leftovers()
    stop_speech_service()  # one of an earlier version may still hold its models
    address = f"http://{'localhost' if options.host in ('127.0.0.1', '0.0.0.0') else options.host}:{options.port}"
    parts = {"web": _web(options), **dict.fromkeys(LANES, _WORKERS)}
    running = {name: _start(name, command) for name, command in parts.items()}
    try:
        screen.note(f"Hark is at {address} (Ctrl-C ends it)")
        if owner() is None:
            screen.note(f"Make the owner's account here, once: {owner_link(base_url=address)}")
        _watch(parts, running, screen)
    finally:
        _stop(list(running.values()))
        stop_speech_service()
    return 0


def _web(options: argparse.Namespace) -> list[str]:
    return [
        sys.executable, "-m", "uvicorn", "webui.asgi:application", "--host", options.host, "--port", str(options.port),
        "--log-level", "warning", "--no-access-log", "--timeout-graceful-shutdown", "3", "--ws", "websockets-sansio",
    ]  # fmt: skip


_WORKERS = [sys.executable, "-m", "webui.jobs.cluster"]


def _start(name: str, command: list[str]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the terminal reaches this process alone, which ends the others in order. Should it
    # be killed, they end by themselves; workers finish their job first.
    environment = {**os.environ, "Q_CLUSTER_NAME": name}  # which queue the workers take from
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, start_new_session=True,
        preexec_fn=partial(end_with_parent, signal.SIGTERM),
    )  # fmt: skip


def _watch(parts: dict[str, list[str]], running: dict[str, subprocess.Popen[bytes]], screen: Screen) -> None:
    from django.db import close_old_connections

    from webui.api.webhooks import stuck as webhooks_are_stuck
    from webui.jobs.services import WEBHOOKS, recover, stuck_lanes
    from webui.trainer.services import adopt_runs

    began = dict.fromkeys(parts, time.monotonic())
    next_recovery = 0.0
    while True:
        for name, process in running.items():
            if process.poll() is None:
                continue
            _kill(process)  # its children
            if time.monotonic() - began[name] < 5.0 and name == "web":
                raise HarkError(
                    "The portal could not be started.",
                    f"Its web server ended with code {process.returncode}; what it said is above.",
                    "Mend that, then run the same command again.",
                )
            screen.note(f"The process for {name} has ended and is started again.")
            time.sleep(1.0)
            began[name] = time.monotonic()
            running[name] = _start(name, parts[name])
        if time.monotonic() >= next_recovery:
            next_recovery = time.monotonic() + RECOVERY_EVERY_S
            try:
                taken = recover()
            except Exception as error:  # a full disk, a locked database: tried again in a moment
                screen.note(f"Looking after the jobs failed, and is tried again: {error}")
            else:
                if taken:
                    screen.note(f"{taken} jobs whose worker was killed are taken care of.")
                adopt_runs()
                for lane in stuck_lanes() | ({WEBHOOKS} if webhooks_are_stuck() else set()):
                    if time.monotonic() - began[lane] > STUCK_AFTER_S:
                        screen.note(f"The workers for {lane} take no jobs.")
                        _kill(running[lane])  # started again above
            close_old_connections()
        time.sleep(0.3)


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        signal_group(process.pid, signal.SIGTERM)
    until = time.monotonic() + STOPPING_S
    for process in processes:
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    signal_group(process.pid)
    process.wait()


def _refuse_taken_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise HarkError(
                f"The portal cannot listen on {host}:{port}.",
                f"{error.strerror or error}: most likely another program, or another Hark, does already.",
                f"Choose another port: serve --port {port + 1}.",
            ) from error
        except OverflowError as error:
            raise HarkError(f"{port} is no port.", "Ports are 1 to 65535.", f"Try --port {PORT}.") from error

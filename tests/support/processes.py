"""Processes that tests and stress tests start (Linux): their descendants, memory, signals, ports and sessions."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def resident_kib(process: int) -> int:
    """Return the resident memory [KiB] of a process and its descendants; 0 without /proc."""
    return sum(_tree(process).values())


def descendants(process: int) -> list[int]:
    """List the processes below a process, without zombies."""
    return [number for number, size in _tree(process).items() if size and number != process]


def _tree(process: int) -> dict[int, int]:
    """Return the resident memory [KiB] of a process and each of its descendants; 0 for zombies."""
    parents: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue  # it has ended in the meantime
        number = int(status.parent.name)
        parents[number] = int(fields["PPid"])
        sizes[number] = int(fields.get("VmRSS", "0 kB").split()[0])
    tree: dict[int, int] = {}
    wanted = [process]
    while wanted:
        parent = wanted.pop()
        tree[parent] = sizes.get(parent, 0)
        wanted += [number for number, of in parents.items() if of == parent]
    return tree


@contextmanager
def orphans_become_children() -> Iterator[None]:
    """Adopt orphaned descendants as children within the block."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        if prctl is not None:
            prctl(PR_SET_CHILD_SUBREAPER, 0)


def kill_process(pid: int) -> int:
    """Kill a process; return 0 if it has already ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return 0
    return 1


def parent_of(pid: int) -> int:
    """Return the parent of a process; if it has ended, a number that no process has."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 2**22


def command_of(pid: int) -> bytes:
    """Return the command line of a process; b"" if the process has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Return whether a process accepts connections on this port of localhost."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def web_server(serve: int) -> list[int]:
    """Find the web server below ``serve``."""
    return [pid for pid in descendants(serve) if b"webui.asgi" in command_of(pid)]


def has_ended(pid: int) -> bool:
    """Return whether the process does not exist or is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def of_session(session: int) -> list[bytes]:
    """Return the command lines of the processes of a session that have not ended."""
    commands = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue  # it has just ended
        if int(its_session) == session and state != "Z":
            commands.append(command_of(int(entry.name)))
    return commands

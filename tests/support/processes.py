"""Processes that tests start (Linux): whether they have ended, and those of a session."""

from __future__ import annotations

from pathlib import Path

from lab.processes import command_of


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

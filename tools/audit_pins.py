"""An audit of the pinned packages for known vulnerabilities and newer versions, without a network.

    python -m tools.audit_pins ADVISORIES [--newest FILE]

ADVISORIES is a folder, or a zip, of advisories in the format of OSV: a clone of the Python Packaging Authority's
advisory database, or the export of all advisories of PyPI that OSV offers. Each line of
FILE has a package, a tab, and its newest version; a second tab and anything after it are ignored. With a package index
that serves advisories, pip-audit does the same: ``pip-audit -r constraints.txt --no-deps --disable-pip``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from core.data_folder import REPOSITORY

PINS = REPOSITORY / "constraints.txt"
SUFFIXES = {".json", ".yaml", ".yml"}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Finding:
    """An advisory that affects a pinned version; ``fixed`` are the versions that fix it."""

    package: str
    version: str
    advisory: str
    fixed: tuple[str, ...]


def pins(text: str) -> dict[str, str]:
    """Return the versions by normalized name, from lines ``name==version``."""
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)==([^\s;#]+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def advisories(place: Path) -> Iterator[dict[str, Any]]:
    """Yield all advisories in a folder or a zip, except withdrawn ones."""
    for name, text in _texts(place):
        read = json.loads(text) if name.endswith(".json") else yaml.load(text, _LOADER)
        if isinstance(read, dict) and "affected" in read and not read.get("withdrawn"):
            yield read


def _texts(place: Path) -> Iterator[tuple[str, str]]:
    if place.is_dir():
        for path in sorted(place.rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                yield path.name, path.read_text(encoding="utf-8")
        return
    with zipfile.ZipFile(place) as archive:
        for name in archive.namelist():
            if Path(name).suffix in SUFFIXES:
                yield name, archive.read(name).decode()


def findings(pinned: Mapping[str, str], known: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Return the advisories that affect a pinned version."""
    matching = []
    for advisory in known:
        for affected in advisory["affected"]:
            package = affected.get("package", {})
            name = canonicalize_name(str(package.get("name", "")))
            if package.get("ecosystem") != "PyPI" or name not in pinned:
                continue
            if holds(pinned[name], affected):
                matching.append(Finding(name, pinned[name], str(advisory["id"]), _fixed(affected)))
    return sorted(set(matching), key=lambda one: (one.package, one.advisory))


def holds(version: str, affected: Mapping[str, Any]) -> bool:
    """Return whether an advisory names a version, directly or in a range."""
    if version in map(str, affected.get("versions") or ()):
        return True
    ranges = (one["events"] for one in affected.get("ranges") or () if one.get("type") == "ECOSYSTEM")
    return any(_within(Version(version), events) for events in ranges)


def _within(version: Version, events: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether a version is in one of OSV's ranges, which is a list of events that begin or end it."""
    inside = False
    for event in events:
        (kind, at), *_others = event.items()
        if kind == "introduced" and (at == "0" or version >= Version(str(at))):
            inside = True
        elif (kind == "fixed" and version >= Version(str(at))) or (
            kind == "last_affected" and version > Version(str(at))
        ):
            inside = False
    return inside


def _fixed(affected: Mapping[str, Any]) -> tuple[str, ...]:
    events = (event for one in affected.get("ranges") or () for event in one["events"])
    return tuple(str(event["fixed"]) for event in events if is_version(str(event.get("fixed", ""))))


def is_version(text: str) -> bool:
    """Return whether a text is a version: OSV also uses commits and empty texts."""
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def behind(pinned: Mapping[str, str], newest: str) -> dict[str, tuple[str, str]]:
    """Return the pinned and newest version of packages whose pin is not the newest."""
    versions: dict[str, str] = {canonicalize_name(line[0]): line[1] for line in _columns(newest)}
    both = {name: (version, versions.get(name, "")) for name, version in pinned.items()}
    return {name: (old, new) for name, (old, new) in both.items() if is_version(new) and Version(new) > Version(old)}


def _columns(text: str) -> Iterator[list[str]]:
    return (columns for line in text.splitlines() if len(columns := line.split("\t")) >= 2)


def main(arguments: list[str] | None = None) -> int:
    """Print the affected pins. The exit code is 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("advisories", type=Path)
    parser.add_argument("--newest", type=Path)
    options = parser.parse_args(arguments)
    pinned = pins(PINS.read_text(encoding="utf-8"))
    known = list(advisories(options.advisories))
    modified = max((str(one.get("modified") or one.get("published") or "")[:10] for one in known), default="")
    holding = findings(pinned, known)
    say = sys.stdout.write
    say(
        f"Pins: {len(pinned)}; advisories: {len(known)}, newest: {modified or 'unknown'}; that apply: {len(holding)}.\n"
    )
    for one in holding:
        say(f"{one.package} {one.version}: {one.advisory}, fixed in {', '.join(one.fixed) or 'no version'}\n")
    if options.newest is not None:
        late = behind(pinned, options.newest.read_text(encoding="utf-8"))
        say(f"Pins with a newer version: {len(late)}\n")
        for name, (version, newer) in late.items():
            say(f"{name} {version}: {newer}\n")
    return 1 if holding else 0


if __name__ == "__main__":
    sys.exit(main())

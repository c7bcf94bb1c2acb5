"""``speakers``: who speaks in the portal's recordings: names, passages, and voices that are remembered."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

from command_line.options import Commands, Parser, add_command, add_group, whole
from command_line.remote import SERVER, Portal, connect
from command_line.transcribe import MOST_SPEAKERS
from core.errors import HarkError

if TYPE_CHECKING:
    from command_line.console import Screen

LISTED = 20
SEARCHED = 100  # the newest, for a name
NEW = "new"  # no speaker's id


def register(commands: Commands[Parser]) -> None:
    """Add the commands of this module."""
    nothing: dict[str, Any] = {"server": None, "token_file": None}
    group = add_group(commands, "speakers", "who speaks in the portal's recordings", run_recordings, **nothing)
    recordings = add_command(group, "recordings", "", "show the recordings and their ids", run_recordings)
    show = add_command(group, "show", "RECORDING", "show its speakers and who speaks when", run_show)
    name = add_command(group, "name", "RECORDING SPEAKER NAME", "name a speaker", run_name)
    assign = add_command(
        group, "assign", "RECORDING PASSAGE SPEAKER [--from-word N]", "say who speaks in a passage", run_assign
    )
    merge = add_command(group, "merge", "RECORDING SPEAKER OTHER", "two speakers are one: OTHER", run_merge)
    detect = add_command(group, "detect", "RECORDING [N]", "find anew who speaks when", run_detect)
    remember = add_command(group, "remember", "RECORDING SPEAKER NAME --consent", "remember a voice", run_remember)
    voices = add_command(group, "voices", "", "show whose voices are remembered", run_voices)
    forget = add_command(group, "forget", "NAME", "forget a voice", run_forget)
    about_one = (show, name, assign, merge, detect, remember)
    for parser in about_one:
        parser.add_argument("recording", metavar="RECORDING", help="its id or its name, as recordings shows them")
    for parser in (name, merge, remember):
        parser.add_argument("speaker", metavar="SPEAKER", help="an id (S1) or a name, as show shows them")
    assign.add_argument("passage", metavar="PASSAGE", type=whole(1, 1_000_000), help="its number, as show shows it")
    assign.add_argument("speaker", metavar="SPEAKER", help=f"an id or a name; {NEW}: somebody else")
    assign.add_argument(
        "--from-word", type=whole(2, 1_000_000), metavar="N", help="from its Nth word on: the passage becomes two"
    )
    merge.add_argument("other", metavar="OTHER", help="who says all passages of SPEAKER, too")
    detect.add_argument("count", nargs="?", type=whole(1, MOST_SPEAKERS), metavar="N", help="how many speak, if known")
    for parser in (name, remember, forget):
        parser.add_argument("name", metavar="NAME", help="of the person")
    remember.add_argument("--consent", action="store_true", help="the person has agreed that it is kept")
    for parser in (recordings, *about_one, voices, forget):
        parser.add_argument("--server", metavar="URL", help=f"where Hark runs (default: HARK_SERVER, else {SERVER})")
        what = "holds an API token with the scopes read, audio (else HARK_TOKEN)"
        parser.add_argument("--token-file", type=Path, metavar="FILE", help=what)


# Commands


def run_recordings(options: argparse.Namespace, screen: Screen) -> int:
    """``speakers`` and ``speakers recordings``."""
    from command_line.console import table

    found = connect(options, screen).ask("GET", f"/recordings?limit={LISTED}")
    screen.result({"recordings": found["items"], "total": found["total"]})
    if screen.json_wanted:
        return 0
    if not found["items"]:
        screen.show("There are no recordings yet.")
        return 0
    rows = [[one["id"], one["state"], one["name"], one["created_at"][:16]] for one in found["items"]]
    screen.show(table(["recording", "state", "name", "since (UTC)"], rows))
    if found["total"] > len(rows):
        screen.note(f"The newest {len(rows)} of {found['total']}.")
    return 0


def run_show(options: argparse.Namespace, screen: Screen) -> int:
    """``speakers show RECORDING``."""
    server = connect(options, screen)
    return _show(_transcript(server, _place(server, options.recording)), screen)


def run_name(options: argparse.Namespace, screen: Screen) -> int:
    """``speakers name RECORDING SPEAKER NAME``."""
    server = connect(options, screen)
    place = _place(server, options.recording)
    who = _speaker(_transcript(server, place), options.speaker)
    return _show(server.ask("PATCH", f"{place}/speakers/{quote(who)}", {"name": options.name}), screen)


def run_assign(options: argparse.Namespace, screen: Screen) -> int:
    """``speakers assign RECORDING PASSAGE SPEAKER``."""
    server = connect(options, screen)
    place = _place(server, options.recording)
    who = None if options.speaker == NEW else _speaker(_transcript(server, place), options.speaker)
    wish = {"speaker": who, "from_word": (options.from_word or 1) - 1}
    return _show(server.ask("PATCH", f"{place}/segments/{options.passage - 1}/speaker", wish), screen)


def run_merge(options: argparse.Namespace, screen: Screen) -> int:
    """``speakers merge RECORDING SPEAKER OTHER``."""
    server = connect(options, screen)
    place = _place(server, options.recording)
    transcript = _transcript(server, place)
    who, other = (_speaker(transcript, name) for name in (options.speaker, options.other))
    said = [number for number, one in enumerate(transcript["segments"]) if one["speaker"] == who]
    if not said or who == other:
        raise HarkError(
            "There is nothing to merge.",
            "They are one speaker." if who == other else f"{options.speaker} says nothing.",
            "Name two speakers of the recording.",
        )
    wish = {"speaker": other, "all_of_theirs": True}
    return _show(server.ask("PATCH", f"{place}/segments/{said[0]}/speaker", wish), screen)


def run_detect(options: argparse.Namespace, screen: Screen) -> int:
    """``speakers detect RECORDING [N]``."""
    server = connect(options, screen)
    job = server.ask("POST", f"{_place(server, options.recording)}/speakers", {"speakers": options.count})
    screen.result({"job": job["id"], "state": job["state"]})
    screen.show("It has begun. Words, corrections and names stay; speakers show RECORDING shows the result.")
    return 0


def run_remember(options: argparse.Namespace, screen: Screen) -> int:
    """``speakers remember RECORDING SPEAKER NAME --consent``."""
    server = connect(options, screen)
    place = _place(server, options.recording)
    who = _speaker(_transcript(server, place), options.speaker)
    wish = {"name": options.name, "consent": options.consent}
    return _show_voices(server.ask("POST", f"{place}/speakers/{quote(who)}/voice", wish), screen)


def run_voices(options: argparse.Namespace, screen: Screen) -> int:
    """``speakers voices``."""
    return _show_voices(connect(options, screen).ask("GET", "/remembered-voices"), screen)


def run_forget(options: argparse.Namespace, screen: Screen) -> int:
    """``speakers forget NAME``."""
    server = connect(options, screen)
    if options.name not in server.ask("GET", "/remembered-voices")["voices"]:
        raise HarkError(f"No voice is remembered as {options.name}.", "Nothing was deleted.", "See speakers voices.")
    server.send("DELETE", f"/remembered-voices/{quote(options.name, safe='')}")
    return _show_voices(server.ask("GET", "/remembered-voices"), screen)


def _place(server: Portal, said: str) -> str:
    """Where a recording is that was named by its id, or by a name that only it has among the newest."""
    try:
        return f"/recordings/{UUID(said)}"
    except ValueError:
        pass
    found = [one["id"] for one in server.ask("GET", f"/recordings?limit={SEARCHED}")["items"] if one["name"] == said]
    if len(found) != 1:
        why = "Several are called that." if found else f"None of the newest {SEARCHED} is called that."
        raise HarkError(f"There is no recording {said[:60]}.", why, "Give its id: speakers recordings.")
    return f"/recordings/{found[0]}"


def _transcript(server: Portal, place: str) -> dict[str, Any]:
    return server.ask("GET", f"{place}/transcript")


def _speaker(transcript: dict[str, Any], said: str) -> str:
    """The id of a speaker who was named by it, or by a name that only they have."""
    if said in transcript["speakers"]:
        return said
    named = [speaker for speaker, name in transcript["speakers"].items() if name.casefold() == said.casefold()]
    if len(named) != 1:
        known = ", ".join(f"{speaker} ({name})" for speaker, name in transcript["speakers"].items())
        why = "Several are called that." if named else f"The recording has {known or 'no speakers'}."
        raise HarkError(f"There is no speaker {said[:60]}.", why, "Give an id.")
    return named[0]


def _show(transcript: dict[str, Any], screen: Screen) -> int:
    """The speakers, and the passages with their numbers."""
    from command_line.console import table
    from pipeline.recordings.captions import clock

    segments, names = transcript["segments"], transcript["speakers"]
    screen.result({name: transcript[name] for name in ("speakers", "sounds_like", "segments")})
    if screen.json_wanted:
        return 0
    rows = []
    for speaker, name in names.items():
        theirs = [one["end_s"] - one["start_s"] for one in segments if one["speaker"] == speaker]
        rows.append([speaker, name, clock(sum(theirs)), str(len(theirs)), transcript["sounds_like"].get(speaker, "")])
    screen.show(table(["speaker", "name", "speaks", "passages", "sounds like"], rows))
    for number, one in enumerate(segments, 1):
        screen.show_line(f"{number}  {clock(one['start_s'])}  {names.get(one['speaker'], '-')}: {one['text']}")
    return 0


def _show_voices(found: dict[str, Any], screen: Screen) -> int:
    screen.result({"voices": found["voices"]})
    if not screen.json_wanted:
        screen.show("\n".join(found["voices"]) or "No voice is remembered.")
    return 0

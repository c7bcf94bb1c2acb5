"""``mine``: extract a phrase from the library's real recordings."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from command_line.asr import add_method, add_weights, chosen_aligner
from command_line.console import Screen, facts, table
from command_line.options import Commands, Parser, count, define_command, folder, language, score, seed
from core.data_folder import atomic_path, data_folder, storing
from core.errors import HarkError

if TYPE_CHECKING:
    from db.db_api import Library
    from pipeline.corpora.mining import MiningResult

SHOWN_CUTS = 20
PLAYERS = (("ffplay", "-nodisp", "-autoexit", "-loglevel", "quiet"), ("play", "-q"), ("afplay",), ("paplay",))


def register(commands: Commands[Parser]) -> None:
    mining = define_command(commands, "mine", "PHRASE [options]", run_mine)
    mining.add_argument("phrase", metavar="PHRASE")
    mining.add_argument("--most", type=count, metavar="N", help="maximum clips to cut out (default: 300)")
    mining.add_argument("--recordings", type=count, metavar="N", help="maximum recordings to search (default: 1200)")
    mining.add_argument(
        "--least-confidence", type=score, metavar="X", help="minimum confidence of a match (default: 0.2)"
    )
    mining.add_argument("--speaker-share", type=score, metavar="X", help="maximum share of one voice (default: 1)")
    mining.add_argument("--word-forms", action="store_true", help="also accept an ending on the last word")
    mining.add_argument("--synthetic", action="store_true", help="also search clips of speech engines")
    mining.add_argument("--language", type=language, default="en", help="default: en")
    add_method(mining)
    mining.add_argument("--seed", type=seed, default=0, metavar="N")
    add_weights(mining)
    what = mining.add_mutually_exclusive_group()
    what.add_argument("--play", action="store_true", help="play the matches, the most certain first")
    what.add_argument("--export", type=folder, metavar="DIR", help="copy the matches, with a manifest")


def run_mine(options: argparse.Namespace, screen: Screen) -> int:
    from db.db_api import Library
    from db.records import ClipQuery
    from phrase_augmentation.keyphrase import Keyphrase
    from phrase_augmentation.normalize import base_language
    from pipeline.corpora.mining import MiningConfig, mine

    limits = {name: getattr(options, name) for name in ("most", "recordings", "least_confidence", "speaker_share")}
    given = {name: value for name, value in limits.items() if value is not None}
    config = MiningConfig(
        word_forms=options.word_forms, real_only=not options.synthetic, seed=options.seed, method=options.method,
        **given,
    )  # fmt: skip
    keyphrase = Keyphrase.of(options.phrase, options.language)
    if config.word_forms and base_language(keyphrase.language) != "en":
        raise HarkError(
            "--word-forms is for English.", "Hark knows no endings of other languages.", "Leave out --word-forms."
        )
    player = _player() if options.play else ()
    with Library(data_folder()) as library:
        speech = ClipQuery(language=keyphrase.language, imported=True if config.real_only else None, text_known=True)
        if next(library.iter_clips(speech), None) is None:
            raise HarkError(
                "There is nothing to mine.",
                f"The library has no transcribed recordings in the language {keyphrase.language!r}.",
                "Import a corpus: ./hark library import FOLDER.",
            )
        with screen.reporter() as reporter:
            outcome = mine(keyphrase, library, reporter, config, chosen_aligner(options))
        files = {clip.id: library.file(clip) for clip in library.clips(outcome.clip_ids)}
        if options.export is not None:
            _export(options.export, library, outcome)
    screen.result(_as_json(outcome, files, options.export))
    speakers = len({cut.speaker for cut in outcome.cuts})
    rows: list[tuple[str, object]] = [
        ("phrase", outcome.phrase),
        ("recordings", f"searched: {outcome.looked_into}, with the phrase: {outcome.recordings}"),
        ("clips", f"{len(outcome.cuts)}, voices: {speakers}"),
        *((f"rejected: {reason.rstrip('.')}", number) for reason, number in outcome.rejected.items()),
        ("seconds", ", ".join(f"{name} {value}" for name, value in outcome.seconds.items())),
    ]
    best = sorted(outcome.cuts, key=lambda cut: -cut.confidence)
    shown = [
        [cut.clip_id, cut.text, cut.speaker, f"{cut.end_s - cut.start_s:.2f}", f"{cut.confidence:.2f}"]
        for cut in best[:SHOWN_CUTS]
    ]
    screen.show(facts(rows))
    if shown:
        screen.show("", table(["clip", "text", "voice", "seconds", "confidence"], shown, right=[0, 3, 4]))
    if len(best) > SHOWN_CUTS:
        screen.show(f"... and {len(best) - SHOWN_CUTS} more")
    for cut in best if options.play else ():
        screen.note(f"{cut.clip_id}  {cut.speaker}  confidence {cut.confidence:.2f}")
        subprocess.run([*player, str(files[cut.clip_id])], check=False)
    return 0


def _as_json(outcome: MiningResult, files: dict[int, Path], export: Path | None) -> dict[str, Any]:
    result: dict[str, Any] = {**asdict(outcome), "sampled": outcome.sampled}
    result["clips"] = [{**cut, "file": str(files.get(cut["clip_id"], ""))} for cut in result.pop("cuts")]
    if export is not None:
        result["export"] = str(export)
    return result


def _player() -> tuple[str, ...]:
    for player in PLAYERS:
        if shutil.which(player[0]):
            return player
    raise HarkError(
        "Nothing can be played here.",
        f"None of these programs was found: {', '.join(player[0] for player in PLAYERS)}.",
        "Install ffmpeg, or use --export FOLDER.",
    )


def _export(target: Path, library: Library, outcome: MiningResult) -> None:
    """Write the mined clips as files, and ``manifest.jsonl`` (NeMo's JSON lines) last."""
    clips = {clip.id: clip for clip in library.clips(outcome.clip_ids)}
    with storing("the export"):
        target.mkdir(parents=True, exist_ok=True)
        with atomic_path(target / "manifest.jsonl") as temporary, temporary.open("w", encoding="utf-8") as lines:
            for cut in outcome.cuts:
                name = f"{cut.text.replace(' ', '-')}-{cut.clip_id}.flac"
                with atomic_path(target / name) as copy:
                    shutil.copyfile(library.file(clips[cut.clip_id]), copy)
                row = {"audio_filepath": name, "duration": round(cut.end_s - cut.start_s, 3), "text": cut.text}
                row |= {"speaker": cut.speaker, "confidence": cut.confidence, "licence": clips[cut.clip_id].licence}
                row |= {"phrase_start_s": cut.phrase_start_s, "phrase_end_s": cut.phrase_end_s}
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")

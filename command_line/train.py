"""``train``, ``plan``, ``advise``, ``retrain``, and the dialogue of ``./hark`` without a command."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from command_line.asr import add_method
from command_line.console import PROGRAM, Screen, command, duration, facts, short_path, table
from command_line.curves import curves_line, require_tensorboard
from command_line.options import Commands, Parser, define_command, language, names, seed
from core.data_folder import REPOSITORY, data_folder
from core.errors import HarkError
from core.worded import percent
from pipeline.training.configuration.devices import DEVICES, TRAINED
from pipeline.training.configuration.efforts import BUCKET_NAMES, EFFORT_WORDS, EFFORTS
from pipeline.training.configuration.run_config import CHOICES, USUAL, RunConfig
from pipeline.training.workspace.run_folder import RunFolder

if TYPE_CHECKING:
    from rich.text import Text

    from pipeline.training.configuration.advice import Advice
    from pipeline.training.packing.targets import Target

EXAMPLE = "hey compass"
LONG_RUN_S = 120.0  # seconds; in a terminal, a longer run needs confirmation
SHORTER = "quick"  # the effort that is offered instead of those in SHORTENED
SHORTENED = ("standard", "thorough")
DECLINED = 130  # exit code, as after an interrupt
GOES_ON_WITH = {
    "synthesize": "by synthesizing the rest",
    "features": "by adding rooms and noise",
    "calibrate": "with calibration",
    "train": "with training",
}
LEVEL_STYLES = {"good": ("✓", "green"), "caution": ("!", "yellow"), "warning": ("✗", "red")}


def register(commands: Commands[Parser]) -> None:
    train = define_command(commands, "train", "PHRASE [options]", run_train)
    _run_options(train)
    _no_question(train)
    train.add_argument("--no-download", action="store_true", help="do not install neural voices that are missing")
    train.add_argument("--tensorboard", action="store_true", help="write curves for TensorBoard into the run's folder")
    plan = define_command(commands, "plan", "PHRASE [options]", run_plan)
    _run_options(plan)
    retrain = define_command(commands, "retrain", "BUNDLE [--yes]", run_retrain)
    retrain.add_argument("bundle", type=Path, metavar="BUNDLE", help="the zip that training made, in the data folder")
    _no_question(retrain)
    advise = define_command(commands, "advise", "PHRASE [--language en]", run_advise)
    _phrase(advise)


def _no_question(parser: Parser) -> None:
    parser.add_argument(
        "--yes", action="store_true", help="do not ask before a long run (Hark asks only at a terminal)"
    )


def _phrase(parser: Parser) -> None:
    parser.add_argument("phrase", nargs="+", metavar="PHRASE", help=f'the keyphrase, such as "{EXAMPLE}"')
    parser.add_argument("--language", type=language, default=RunConfig.language, help=f"default: {RunConfig.language}")


def _run_options(parser: Parser) -> None:
    _phrase(parser)
    parser.add_argument(
        "--effort", choices=list(EFFORTS), default=RunConfig.effort, help=f"how much work (default: {RunConfig.effort})"
    )
    parser.add_argument(
        "--seed", type=seed, default=RunConfig.seed, metavar="N", help="the same number gives the same run"
    )
    parser.add_argument(
        "--size",
        choices=CHOICES["size"].values,
        default=USUAL.size,
        help="size of the detector: large (34 MB) misses far less, standard (3 MB) suits small computers (default: "
        "large for English, otherwise standard, and standard for a trial)",
    )
    parser.add_argument(
        "--for",
        dest="targets",
        action="append",
        choices=DEVICES,
        default=[],
        help="where you will use it; the closing screen shows the file to use and the commands. For esphome (Voice PE, "
        "ESP32-S3: micro_wake_word), openwakeword (Home Assistant's add-on) and small (one of size standard in "
        "addition to a large one) a separate detector is trained too; browser, pi and python use the main detector. "
        "Can be given several times",
    )
    parser.add_argument("--from-scratch", action="store_true", help="ignore the shipped backbone and negative set")
    parser.add_argument(
        "--allow-confusables",
        action="store_true",
        help="do not raise a large detector's threshold to reject confusable phrases: it misses less, and they "
        "trigger it more often",
    )
    parser.add_argument("--no-mining", action="store_true", help="do not use real speech from the library")
    add_method(parser, "--mining-method")
    help_text = "speech engines to use (default: all free ones that are ready)"
    parser.add_argument("--engines", type=names, default=(), metavar="A,B", help=help_text)
    help_text = 'engine reserved for the test, or "none" (default: chosen automatically)'
    parser.add_argument("--hold-out", default="", metavar="ENGINE", help=help_text)


def _config(options: argparse.Namespace) -> RunConfig:
    """Return the requested run. Raises HarkError, before slow work starts, if the phrase is unusable."""
    from pipeline.training.recipes.prepared import prepare

    wanted = RunConfig(
        phrase=" ".join(options.phrase),
        language=options.language,
        effort=options.effort,
        seed=options.seed,
        size=options.size,
        mining=not options.no_mining,
        mining_method=options.mining_method,
        from_scratch=options.from_scratch,
        allow_confusables=options.allow_confusables,
        engines=options.engines,
        devices=tuple(target for target in options.targets if target in TRAINED),
        hold_out=options.hold_out,
    )
    return prepare(wanted)


def _check_hold_out(config: RunConfig) -> None:
    from pipeline.training.planning.plan import ready_engines

    if config.hold_out in ("", "none"):
        return
    ready, _ = ready_engines(config.engines, config.language)
    if config.hold_out not in ready:
        raise HarkError(
            f"The engine {config.hold_out!r} cannot be held out.",
            f"It is not an engine of this run: {', '.join(ready)}.",
            f"Choose one of these or none; {PROGRAM} engines shows all, --engines chooses.",
        )


def run_train(options: argparse.Namespace, screen: Screen) -> int:
    if options.tensorboard:
        require_tensorboard()
    from pipeline.training.recipes import recipe_of

    config = _config(options)
    if options.tensorboard and not recipe_of(config).trains:
        raise HarkError(
            "--tensorboard has no curves to write.",
            "This run does not train its own detector; it only sets a threshold.",
            "Leave it out, or train a network (--size standard, not --effort trial).",
        )
    return _agree_and_train(
        config, screen, options.yes, not options.no_download, tensorboard=options.tensorboard, targets=options.targets
    )


def _agree_and_train(
    config: RunConfig, screen: Screen, yes: bool = False, download: bool = True, **training: Any
) -> int:
    """Install missing voices, show the plan, train; in a terminal, a long run needs confirmation unless ``yes``."""
    from pipeline.engine_setup import voices_to_install

    to_install = voices_to_install(config) if download else {}
    ask = not yes and not screen.json_wanted and _at_terminal() and screen.err.is_terminal
    if ask:
        agreed = _ask(config, screen, to_install)
        if agreed is None:
            screen.note("No training was started.")
            return DECLINED
        config = agreed
    if to_install:
        _install_voices(to_install, screen)
    if not config.start_from:
        _check_hold_out(config)
    if not screen.json_wanted and (to_install or not ask):
        _show_plan(config, screen, short=True)
    return _train(config, screen, **training)


def _ask(config: RunConfig, screen: Screen, to_install: Mapping[str, int]) -> RunConfig | None:
    """Show the plan and ask before a run that is long or downloads voices; return the confirmed run, or None."""
    from rich.prompt import Prompt

    plan = _show_plan(config, screen, short=True)
    if plan["estimate_s"] < LONG_RUN_S and not to_install:
        return config
    clips = sum(bucket["generate"] for bucket in plan["buckets"].values())
    cost = [_about(plan["estimate_s"]), f"up to {clips} clips to synthesize"]
    if to_install:
        cost.append(f"{sum(to_install.values())} MB of neural voices to download, once")
    shorter = config.effort in SHORTENED and not config.start_from
    answer = Prompt.ask(
        f"Train now? {', '.join(cost)}{f'; {EFFORT_WORDS[SHORTER]}' if shorter else ''}",
        console=screen.err, choices=["y", "n", *([SHORTER] if shorter else [])], default="y", case_sensitive=False,
    )  # fmt: skip
    if answer == SHORTER:
        return replace(config, effort=SHORTER)
    return config if answer == "y" else None


def _about(seconds: float) -> str:
    """Format an estimate in whole minutes: ``about 12 min``."""
    return f"about {duration(60 * max(1, round(seconds / 60)))}"


def _at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _install_voices(wanted: Mapping[str, int], screen: Screen) -> None:
    """Install missing neural voices once; a run continues without those that cannot be installed."""
    from pipeline.engine_setup import install_voices

    screen.note(f"Installing neural voices: {_sizes(wanted)} to download, once. --no-download leaves them out.")
    with screen.reporter() as reporter:
        install_voices(wanted, reporter)


def _sizes(megabytes: Mapping[str, int]) -> str:
    return ", ".join(f"{engine} {size} MB" for engine, size in megabytes.items())


def run_retrain(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``retrain BUNDLE``. The bundle's run must be in this data folder."""
    from model.runtime.detector import Bundle, BundleError
    from pipeline.serving.detection import as_hark_error
    from pipeline.training.detectors.retraining import retraining_of

    try:
        run = str(Bundle(options.bundle).manifest.get("run", ""))
    except BundleError as error:
        raise as_hark_error(error) from error
    return _agree_and_train(retraining_of(data_folder(), run), screen, options.yes, download=False)


def run_plan(options: argparse.Namespace, screen: Screen) -> int:
    config = _config(options)
    if others := [target for target in options.targets if target not in TRAINED]:
        raise HarkError(
            f"--for {others[0]} does not change the plan.",
            "It uses the main detector.",
            f"Leave it out; {PROGRAM} train shows the files for it.",
        )
    _check_hold_out(config)
    _show_plan(config, screen)
    return 0


def run_advise(options: argparse.Namespace, screen: Screen) -> int:
    from pipeline.training.configuration.advice import advise

    advice = advise(" ".join(options.phrase), options.language)
    screen.result(advice.as_dict())
    _show_advice(advice, screen)
    return 0


def ask_and_train(options: argparse.Namespace, screen: Screen) -> int:
    """Ask for a keyphrase, show the advice and the plan, train. Input may be piped."""
    from rich.prompt import Prompt

    from pipeline.training.configuration.advice import advise

    at_terminal = _at_terminal()
    if at_terminal and screen.json_wanted:
        raise _no_command("Without one Hark asks for a keyphrase, which does not work with --json.")
    effort = RunConfig.effort
    if not at_terminal:
        phrase = sys.stdin.buffer.readline().decode(errors="replace").strip() if sys.stdin is not None else ""
        if not phrase:
            raise _no_command("Without one Hark asks for a keyphrase, but there is neither a terminal nor an answer.")
        advice = advise(phrase)
    else:
        screen.note("Type a phrase, get a wake-word detector. Three syllables or more work best. Ctrl-C ends.")
        while True:
            try:
                advice = advise(Prompt.ask("Keyphrase", console=screen.err, default=EXAMPLE))
                break
            except HarkError as error:
                screen.warn_of(error)
    _show_advice(advice, screen)
    if at_terminal:
        screen.note(*EFFORT_WORDS.values())
        effort = Prompt.ask("Effort", console=screen.err, choices=list(EFFORTS), default=effort)
    return _agree_and_train(_as_usual(advice.normalized, effort), screen)


def _no_command(why: str) -> HarkError:
    what_to_do = f'{PROGRAM} train "{EXAMPLE}" trains, {PROGRAM} --help shows all commands.'
    return HarkError("No command was given.", why, what_to_do)


def _show_advice(advice: Advice, screen: Screen) -> None:
    from rich.text import Text

    phones = " ".join("".join(word) for word in advice.phones)
    sounds = [f'"{other.text}"' for other in advice.near_homophones[:5]]
    screen.show(
        "",
        Text.assemble((advice.normalized, "bold"), (f"  [{phones}]", "dim")),
        *(Text.assemble(LEVEL_STYLES[note.level], f" {note.message}") for note in advice.notes),
        *([facts([("sounds nearly like", ", ".join(sounds))])] if sounds else []),
        *(Text.assemble(("→ ", "cyan"), suggestion) for suggestion in advice.suggestions),
        "",
    )


def _show_plan(config: RunConfig, screen: Screen, short: bool = False) -> dict[str, Any]:
    from rich.text import Text

    from pipeline.engine_setup import voices_to_install
    from pipeline.training.planning.preview import plan_run, plan_summary

    with screen.reporter(passing=short) as reporter:
        plan = plan_summary(plan_run(config, data_folder(), reporter), data_folder())
    to_install = {} if short else voices_to_install(config)
    screen.result({**plan, "to_install_mb": to_install})
    columns = ("phrases", "target", "reused", "mined", "generate")
    rows = [
        [BUCKET_NAMES[bucket], *(row[name] for name in columns), _counts(row["by_engine"])]
        for bucket, row in plan["buckets"].items()
    ]
    hours = plan["real_negative_hours"]
    lines = [("voices", _counts(plan["engines"]))]
    if plan["held_out_engine"]:
        lines.append(("held out", f"{plan['held_out_engine']}: used only for the test"))
    lines += [("not used", f"{engine}: {why}") for engine, why in plan["engines_missing"].items()]
    if to_install:
        lines.append(("to install", f"{_sizes(to_install)}: neural voices, by {PROGRAM} train unless --no-download"))
    no_speech = f"none: {PROGRAM} library import FOLDER improves the detector"
    lines.append(("real speech", f"{hours:.1f} h" if hours else no_speech))
    lines.append(("estimate", f"{_about(plan['estimate_s'])}, effort {plan['effort']}"))
    screen.show(Text.assemble("Plan for ", (plan["phrase"], "bold")))
    if unfinished := plan["unfinished"]:
        screen.show(
            f"An unfinished run is here: {unfinished['spoken']} of {unfinished['planned']} clips are synthesized; "
            f"it continues {GOES_ON_WITH[unfinished['goes_on_with']]}."
        )
    headers = ["clips", "texts", "wanted", "in library", "real", "to make", "by"]
    screen.show(table(headers, rows, right=range(1, 6)), "", facts(lines))
    if not short:
        for bucket, row in plan["buckets"].items():
            examples = ", ".join(f'"{text}"' for text in list(dict.fromkeys(row["examples"]))[:4])
            screen.show(Text.assemble((f"{BUCKET_NAMES[bucket]}: ", "dim"), examples))
    screen.show("")
    # `train PHRASE` has the same effect
    if not short and config.language == RunConfig.language and config == _as_usual(config.phrase):
        screen.show_line(command("train", config.phrase))
    return plan


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items())


def _as_usual(phrase: str, effort: str = RunConfig.effort) -> RunConfig:
    from pipeline.training.recipes.prepared import prepare

    return prepare(replace(USUAL, phrase=phrase, effort=effort))


def _train(config: RunConfig, screen: Screen, tensorboard: bool = False, targets: Collection[str] = ()) -> int:
    from pipeline.training.run import run_training

    with screen.reporter() as reporter:
        result = run_training(config, data_folder(), reporter, tensorboard)
    chosen = _chosen_targets(Path(result["bundle"]), targets, result.get("devices_left_out", ()))
    screen.result({**result, "for": {target.name: target.as_dict() for target in chosen}} if chosen else result)
    _show_result(result, screen, tensorboard)
    _show_targets(chosen, screen)
    return 0


def _chosen_targets(bundle: Path, names: Collection[str], left_out: Collection[str] = ()) -> list[Target]:
    """Return the files of a bundle that the named devices need, and their steps."""
    from pipeline.training.packing.targets import targets_of_bundle

    if not names:
        return []
    # Some of the lines are run in Hark's folder.
    typed = short_path(bundle) if Path.cwd() == REPOSITORY else str(bundle.absolute())
    return [target for name, target in targets_of_bundle(bundle, typed, left_out).items() if name in names]


def _show_targets(chosen: Iterable[Target], screen: Screen) -> None:
    """Show the file for each device, and the steps there."""
    from rich.text import Text

    for target in chosen:
        screen.show(
            "", Text.assemble((target.title, "bold"), "  ", ", ".join(target.files)), Text(str(target.size), "dim")
        )
        if target.missing:
            screen.show(target.missing_instructions)
        for step in target.steps:
            screen.show(str(step.about))
            for line in step.code.splitlines():
                screen.show_line(f"  {line}")


def _headline(phrase: str, metrics: Mapping[str, Any]) -> Text:
    """Return a headline that states if the detector is usable."""
    from rich.text import Text

    from pipeline.training.reporting.verdict import misses_most

    if misses_most(metrics):
        missed = percent(metrics["miss_rate_clean"]["value"])
        return Text.assemble(
            ("✗ ", "red"), (phrase, "bold"), f" has a detector that misses {missed} of it in quiet: do not use it"
        )
    return Text.assemble(("✓ ", "green"), (phrase, "bold"), " has its detector")


def _show_result(result: Mapping[str, Any], screen: Screen, tensorboard: bool) -> None:
    from rich.text import Text

    from pipeline.training.reporting.report_words import per_hour
    from pipeline.training.reporting.verdict import misses_most

    metrics = result["metrics"]
    alarms, least, most = (per_hour(metrics["fa_per_hour"][name]) for name in ("value", "low", "high"))

    def rate(name: str) -> tuple[str, str]:
        value = metrics[name]
        return percent(value["value"]), f"{percent(value['low'])} to {percent(value['high'])}"

    measured = [
        ("missed, close and quiet", *rate("miss_rate_clean")),
        ("missed, in noise at 10 dB SNR", *rate("miss_rate_noisy")),
        ("confusables accepted", *rate("confusables_accepted")),
        ("false alarms an hour", alarms, f"{least} to {most}"),
    ]
    screen.show(
        "",
        _headline(result["phrase"], metrics),
        *([verdict["sentence"], verdict["advice"]] if (verdict := result.get("verdict")) else []),
        "",
        table(["of the test voices", "", "95 % interval"], measured, right=[1]),
        "",
        facts([*_about_run(result, tensorboard), ("bundle, and its model.pt", "")]),
    )
    for name in ("bundle", "model_pt"):
        screen.show_line(str(Path(result[name]).absolute()))
    if misses_most(metrics):
        screen.show("", "Train it with more effort, or choose another phrase; the report says where it fails.")
        return
    screen.show("", Text("Try it:", "dim"))
    clip = _test_clip(result) or "recording.wav"
    screen.show_line(f"  {command('detect', short_path(result['bundle']), clip)}")


def _about_run(result: Mapping[str, Any], tensorboard: bool) -> Iterator[tuple[str, str]]:
    if fooled_by := ", ".join(f'"{text}"' for text in result["metrics"].get("fooled_by", ())):
        yield "triggered by, for example", fooled_by
    for device in result.get("devices", {}).values():
        clean, noisy = (percent(device[name]["value"]) for name in ("miss_rate_clean", "miss_rate_noisy"))
        rates = f"missed {clean}, in noise {noisy}, by synthetic voices: people more often"
        yield f"for {device['title']}", f"{rates}; in the bundle {', '.join(device['bytes'])}"
    counts, seconds = result["counts"].values(), result["seconds"]
    yield "clips", ", ".join(f"{sum(row[kind] for row in counts)} {kind}" for kind in ("generated", "reused", "mined"))
    stages = ", ".join(f"{name} {duration(value)}" for name, value in seconds.items() if value >= 1)
    yield "time", duration(sum(seconds.values())) + (f" ({stages})" if stages else "")
    yield "report", short_path(result["report"])
    curves = _run_folder(result).curves
    if tensorboard and curves.is_dir():  # otherwise there was no training
        yield "curves", curves_line(short_path(curves))


def _run_folder(result: Mapping[str, Any]) -> RunFolder:
    bundle = Path(result["bundle"])
    return RunFolder(bundle.parents[2], bundle.stem)


def _test_clip(result: Mapping[str, Any]) -> str:
    """Return a clip of the phrase, in a voice held out of training, for a first try."""
    try:
        with _run_folder(result).clips.open(encoding="utf-8", newline="") as rows:
            for row in csv.DictReader(rows):
                if row["label"] == "1" and row["split"] == "test" and Path(row["path"]).is_file():
                    return short_path(row["path"])
    except (OSError, KeyError, ValueError):
        pass
    return ""

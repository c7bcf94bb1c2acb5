"""The files of a bundle for each device."""

from __future__ import annotations

import math
import re

import pytest

from command_line.application import build_parser
from model.devices.microwakeword import MicroConfig
from model.devices.openwakeword import OpenWakeWordConfig
from pipeline.training.configuration.devices import DEVICES, OWN_FORMAT
from pipeline.training.packing.targets import Target, readme, targets_of

USUAL = ("model.onnx", "detect.py", "detect.html", "detect.js")
OF_DEVICES = ("esphome/hey_compass.json", "esphome/hey_compass.tflite", "openwakeword/hey_compass.tflite")
SMALL = DEVICES["small"].files
ADDRESS = "https://hark.example.org/models/1/1/token/"


def targets_with(*names: str, **more: object) -> dict[str, Target]:
    return targets_of("hey-compass.zip", names, **{"is_small": False, **more})  # type: ignore[arg-type]


def test_a_complete_bundle_supports_every_target() -> None:
    targets = targets_with(*USUAL, *OF_DEVICES, *SMALL)
    assert list(targets) == list(DEVICES)
    for target in targets.values():
        assert target.files and target.steps and not target.missing
    assert set(targets["esphome"].files) == set(OF_DEVICES[:2])
    assert "- model: hey_compass.json" in targets["esphome"].steps[0].code
    assert (
        "cp openwakeword/hey_compass.tflite /share/openwakeword/hey_compass.tflite"
        in targets["openwakeword"].steps[0].code
    )


def test_a_device_step_needs_only_the_url() -> None:
    targets = targets_with(*USUAL, *OF_DEVICES, address=ADDRESS)
    assert f"    - model: {ADDRESS}esphome/hey_compass.json" in targets["esphome"].steps[0].code
    assert f"{ADDRESS}openwakeword/hey_compass.tflite" in targets["openwakeword"].steps[0].code


def test_a_missing_file_comes_with_instructions() -> None:
    for device in OWN_FORMAT:
        target = targets_with(*USUAL)[device]
        assert not target.files and not target.steps and f"--for {device}" in target.missing_instructions
        target = targets_with(*USUAL, left_out=[device])[device]
        assert (
            f"pip install {DEVICES[device].package}" in target.missing_instructions
            and f"--for {device}" in target.missing_instructions
        )
        assert DEVICES[device].package in str(target.missing) and "--for" not in str(target.missing)
    assert "--for small" in targets_with(*USUAL)["small"].missing_instructions


@pytest.mark.parametrize("target", DEVICES)
def test_commands_in_the_steps_exist(target: str) -> None:
    """The commands of Hark in a step are parsed as written."""
    parser = build_parser()
    code = "\n".join(step.code for step in targets_with(*USUAL, *OF_DEVICES, *SMALL)[target].steps)
    named = re.findall(r"^\./hark (.*)", code, re.MULTILINE)
    for line in named:
        parser.parse_args(line.split())
    assert len(named) == {"browser": 1, "pi": 1}.get(target, 0)


def test_small_computers_use_a_standard_bundle_directly() -> None:
    target = targets_with(*USUAL, "manifest.json", is_small=True)["small"]
    assert target.missing is None and set(target.files) == {*USUAL, "manifest.json"}
    assert "cd small" not in target.steps[0].code and "python detect.py --mic" in target.steps[0].code


def test_the_device_windows_match_their_receptive_fields() -> None:
    shapes = {"esphome": MicroConfig(), "openwakeword": OpenWakeWordConfig()}
    assert {name: int(shape.receptive_samples / 1600) / 10 for name, shape in shapes.items()} == {
        name: device.window_s for name, device in DEVICES.items() if device.window_s < math.inf
    }


def test_a_path_with_spaces_is_quoted() -> None:
    steps = targets_of("my bundles/hey compass.zip", USUAL, True)["python"].steps
    assert steps[0].code.startswith("unzip 'my bundles/hey compass.zip' -d 'hey compass'\ncd 'hey compass'\n")


def test_the_bundles_readme_has_every_device() -> None:
    report = {"phrase": "hey compass", "size": "large", "devices_left_out": ["esphome"]}
    text = readme("hey-compass.zip", USUAL, report, {"pi": "It missed 9 %."})
    assert text.startswith("# Where “hey compass” runs")
    for target in targets_with(*USUAL).values():
        assert f"## {target.title}" in text
    assert text.count("not in this bundle") == 3 and "pip install pymicro-wakeword" in text
    assert "python detect.py --mic" in text and "```\n\n##" in text
    assert "## Raspberry Pi, Wyoming\n\nIt missed 9 %.\n" in text

"""The checks and the normalization of a run's configuration."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import HarkError
from pipeline.corpora.alignment_methods import CTC_SEGMENTATION
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.recipes.prepared import prepare


def test_a_word_alignment_without_real_recordings_is_rejected() -> None:
    pytest.importorskip("ctc_segmentation")
    method = RunConfig("hey compass", effort="quick", mining_method=CTC_SEGMENTATION)
    assert prepare(method).mining_method == CTC_SEGMENTATION
    without = replace(method, mining=False)
    with pytest.raises(HarkError, match="which this run does not use"):
        prepare(without)
    assert prepare(replace(without, start_from="hey-compass-1a2b")), "its first version was made before this check"
    assert prepare(replace(without, mining_method=RunConfig.mining_method))


def test_from_scratch_makes_the_same_run_where_every_run_is_from_scratch() -> None:
    german = RunConfig("hallo kompass", "de", "quick")
    assert prepare(replace(german, from_scratch=True)).run_name == prepare(german).run_name
    english = RunConfig("hey compass", effort="quick")
    assert prepare(replace(english, from_scratch=True)).run_name != prepare(english).run_name


def test_only_a_run_that_learns_can_hold_an_engine_out() -> None:
    calibrated = RunConfig("hey compass", effort="trial", size="standard", hold_out="flite")
    with pytest.raises(HarkError, match="'flite' cannot be held out"):
        prepare(calibrated)
    assert prepare(replace(calibrated, effort="quick")).hold_out == "flite"
    assert prepare(replace(calibrated, devices=("esphome",))).hold_out == "flite"

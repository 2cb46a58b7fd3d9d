"""MBench joint metrics, the gate's rule and the reading of answers against golden vectors."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest
import torch

from hmr4d.metrics import mbench
from hmr4d.metrics.pose_quality import axis_angle_to_quat_wxyz
from hmr4d.reference_motion.gate import decide
from hmr4d.reference_motion.gate_rules import GateRules, Measures
from hmr4d.reference_motion.vlm import Verdict
from hmr4d.reference_motion.vlm_answer import Decision, parse_answer
from tests.golden.vectors import assert_close, golden_file, has_golden_file

FOLDER = "reference_motion"
TOLERANCE = 1e-6  # the README of the vectors asks for it
FUNCTIONS = {
    "Jitter_Degree": mbench.jitter_degree,
    "Dynamic_Degree": mbench.dynamic_degree,
    "Ground_Penetration": lambda joints: mbench.ground_penetration(joints, "legacy"),
    "Foot_Floating": lambda joints: mbench.foot_floating(joints, "legacy"),
    "Foot_Sliding": lambda joints: mbench.foot_sliding(joints, "legacy"),
}


@cache
def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(golden_file(f"{FOLDER}/{name}.npz"), allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


def motions() -> list[str]:
    """Names of the clips in the file at hand."""
    return [str(name) for name in arrays("metrics")["names"]] if has_golden_file(f"{FOLDER}/metrics.npz") else ["none"]


@pytest.mark.parametrize("name", motions())
def test_feet_are_in_contact_where_the_published_routine_says(name: str) -> None:
    data = arrays("metrics")
    contact = mbench.foot_contact(data[f"joints_{name}"], "legacy")
    assert np.array_equal(contact, data[f"contact_{name}"].astype(bool))


@pytest.mark.parametrize("metric", FUNCTIONS)
def test_a_metric_equals_the_published_one_for_every_clip(metric: str) -> None:
    data = arrays("metrics")
    names = [str(name) for name in data["metric_names"]]
    got = [FUNCTIONS[metric](data[f"joints_{name}"]) for name in names]
    assert_close(metric, np.array(got), data[metric], atol=TOLERANCE)
    table = mbench.aggregate(got)
    summary = np.array([table["mean"], table["std"], table["num_samples"]], np.float64)
    assert_close(f"{metric} aggregate", summary, data[f"{metric}_aggregate"], atol=TOLERANCE)


@pytest.mark.parametrize("metric", FUNCTIONS)
def test_a_clip_of_two_frames_has_the_published_value_or_none(metric: str) -> None:
    data = arrays("metrics")
    if "joints_two" not in data:
        pytest.skip("no clip of two frames in this set")
    got, expected = FUNCTIONS[metric](data["joints_two"]), float(data[f"{metric}_two"])
    assert (np.isnan(got) and np.isnan(expected)) or abs(got - expected) < TOLERANCE


def test_json_answers_are_read_as_by_the_published_reader() -> None:
    """The published reader takes other texts as no, and broken JSON with "true" in it as yes; ours is undecided."""
    data, num_compared = arrays("vlm_parse"), 0
    for raw, analysis, matches in zip(*(data[k] for k in ("raw", "analysis", "matches")), strict=True):
        try:
            content = json.loads(str(raw))
        except ValueError:
            continue
        if not isinstance(content, dict) or not isinstance(content.get("matches"), bool):
            continue
        answer = parse_answer(str(raw))
        assert answer.decision is Decision.of(bool(matches)), raw
        assert "analysis" not in content or answer.analysis == str(analysis), raw
        num_compared += 1
    assert num_compared


def test_the_gate_passes_what_the_published_rule_passes() -> None:
    data = arrays("gate")
    rules = GateRules(jitter=float(data["threshold"]))
    for jitter, present, vlm, use in zip(
        *(data[k] for k in ("jitter", "jitter_present", "vlm", "use_ref")), strict=True
    ):
        value = float(jitter) if present else math.nan
        faults = rules.faults(measures_with_jitter(value))
        verdict = Verdict(Decision.of(None if vlm < 0 else bool(vlm)))
        assert (decide(faults, verdict, is_judged=True) is Decision.YES) == bool(use), (jitter, present, vlm)
        if vlm < 0 and not faults:
            assert decide(faults, verdict, is_judged=True) is Decision.UNDECIDED


def measures_with_jitter(value: float) -> Measures:
    metrics = mbench.joint_metrics(np.zeros((3, 22, 3)), 20.0)
    return Measures(3, 20.0, {**metrics, "Jitter_Degree": mbench.Metric(value, value * 400, "m/s^2")}, 0.0)


def test_rotations_reach_the_pose_network_as_published() -> None:
    data = arrays("rotations")
    if "nrdf_axis_angle_to_quaternion" not in data:
        pytest.skip("no such rotations in this set")
    got = axis_angle_to_quat_wxyz(torch.from_numpy(data["axis_angle"]))
    assert_close("quaternions of the pose network", got, data["nrdf_axis_angle_to_quaternion"], atol=2e-6)

"""tools/generate.py on a tiny released model: files, order, repeatability, and one sentence per mistake."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d import load_pipeline
from hmr4d.camera.orbit_rigs import OrbitRig
from hmr4d.cli.generate import main
from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.export.motion_npz import load_motion_npz, save_motion_npz
from hmr4d.methods.motion2to3.denoiser import MotionDenoiser
from hmr4d.methods.motion2to3.method import METHOD
from hmr4d.methods.motion2to3.module import Motion2to3Module
from hmr4d.methods.motion2to3.options import SamplingOptions
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.motion.motion import Motion, Provenance
from hmr4d.nn.action_index import FILE_NAME, ActionIndex, FarCheck, KnownAction
from hmr4d.nn.text import HashTextEncoder
from hmr4d.nn.text_adapter import TextAdapter
from hmr4d.representation.motion2d import Motion2DCodec
from hmr4d.utils.releases import CONFIG_NAME
from tests.data.tiny_store import clip

ABOUT = {"licence": "CC BY-NC 4.0"}
NETWORK = {
    "num_features": 44,
    "text_dim": 8,
    "dim": 16,
    "ff_dim": 16,
    "num_layers": 1,
    "num_heads": 2,
    "dropout": 0.0,
    "cam_dim": 5,
    "use_views": True,
    "separate_root_head": True,
}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny model with random weights."""
    torch.manual_seed(0)
    pipeline = Motion2to3Pipeline(
        MotionDenoiser(**NETWORK),
        Motion2DCodec("bandai_namco_20fps"),
        NoiseSchedule(10),
        text_encoder=HashTextEncoder(8),
        sampling=SamplingOptions(num_inference_steps=3, step="ddim", height="clip"),
        rig=OrbitRig(num_views=2, max_angle=90.0),
        fps=20.0,
        joint_convention="bandai_namco",
        meters_per_unit=1.2,
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    encoder = {"name": "hash", "folder": None, "dim": 8}
    METHOD.save(folder, pipeline, {"network": NETWORK, "text_encoder": encoder}, ABOUT)
    return folder


def run(released: Path, out: Path, *words: str) -> int:
    return main([*words, "--out", str(out), "--model", str(released), "--export", "npz", "--device", "cpu"])


def test_prompts_of_the_command_line_and_of_a_file_in_order(released: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("# comment\n\nsomeone bows\n", encoding="utf-8")
    words = ["a person walks", "--prompts-file", str(tmp_path / "prompts.txt"), "--seconds", "2,1"]
    assert run(released, tmp_path / "out", *words) == 0
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["000_a_person_walks.npz", "001_someone_bows.npz", "contact_sheet.png"]
    motion = load_motion_npz(tmp_path / "out" / "000_a_person_walks.npz")
    assert motion.joints3d.shape == (40, 22, 3)
    assert motion.fps == 20.0
    assert motion.metadata["seed"] == 0
    assert (motion.metadata["licence"], motion.metadata["joint_convention"]) == (ABOUT["licence"], "bandai_namco")
    assert motion.metadata["model"] == str(released) and motion.metadata["command"]


def test_a_run_with_released_weights_knows_where_they_come_from(released: Path) -> None:
    pipeline = load_pipeline(released)
    facts = dict(pipeline.about)
    assert facts == {"model": str(released), **ABOUT}
    pipeline.about = {"licence": "of the configuration"}
    Motion2to3Module(pipeline, optimizer=torch.optim.AdamW).load_start(released, is_training=False)
    assert pipeline.about == facts
    assert pipeline.sample("a bow", seconds=2.0).provenance.metadata() == facts


def test_a_motion_is_the_same_alone_in_a_batch_and_as_a_later_sample(released: Path, tmp_path: Path) -> None:
    run(released, tmp_path / "alone", "someone bows", "--seed", "6", "--seconds", "2")
    run(released, tmp_path / "batch", "walk", "someone bows", "--seed", "6", "--seconds", "3,2")
    run(released, tmp_path / "samples", "someone bows", "--seed", "5", "--num-samples", "2", "--seconds", "2")
    paths = ["alone/000_someone_bows", "batch/001_someone_bows", "samples/000_s1_someone_bows"]
    first, *others = [load_motion_npz(tmp_path / f"{p}.npz").joints3d for p in paths]
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-4)
    different = load_motion_npz(tmp_path / "samples/000_s0_someone_bows.npz").joints3d
    assert (different - first).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "No prompt was given"),
        (["  "], "is empty"),
        (["walk", "--seconds", "0.1"], "seconds is 0.1"),
        (["walk", "--seconds", "nan"], "seconds is nan"),
        (["walk", "--seconds", "2,3"], "2 values for 1 prompts"),
        (["walk", "--steps", "11"], "num_inference_steps is 11"),
        (["walk", "--num-samples", "0"], "num_samples is 0"),
        (["--prompts-file", "missing.txt"], "missing.txt"),
        (["walk", "--export", "npz,fbx"], "fbx"),
    ],
)
def test_bad_input_is_one_sentence(
    released: Path, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*words, "--out", str(tmp_path / "out"), "--model", str(released)]
    assert main(arguments) == 2
    captured = capsys.readouterr().err
    assert message in captured
    assert "Traceback" not in captured
    assert not (tmp_path / "out").exists()


def test_an_unknown_model_lists_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["walk", "--model", "nothing", "--out", str(tmp_path)]) == 2
    assert "No released model 'nothing'" in capsys.readouterr().err


def test_a_training_is_no_release_yet(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").touch()
    for path in (tmp_path / "run", tmp_path / "run" / "checkpoints" / "last.ckpt"):
        with pytest.raises(FileNotFoundError, match=f"hmr4d release --run {tmp_path / 'run'} --out"):
            load_pipeline(path)


@pytest.mark.parametrize("name", ["model.safetensors", CONFIG_NAME, "statistics.npz"])
def test_a_damaged_model_file_is_named(released: Path, tmp_path: Path, name: str) -> None:
    for path in released.iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[: len(content) // 2] if path.name == name else content)
    with pytest.raises(ValueError, match=name):
        load_pipeline(tmp_path)


def test_weights_of_another_network_are_refused(released: Path, tmp_path: Path) -> None:
    for path in released.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    text = (tmp_path / CONFIG_NAME).read_text(encoding="utf-8").replace('"ff_dim": 16', '"ff_dim": 24')
    (tmp_path / CONFIG_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="does not fit this network"):
        load_pipeline(tmp_path)


# --- known actions ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def knowing(released: Path) -> Path:
    """Folder of the tiny model with a list of two actions."""
    pipeline = load_pipeline(released)
    texts = ["a person walks", "someone bows"]
    actions = [KnownAction("walk", "walk", 12, 8.0, 4.0, 9.0), KnownAction("polite bow", "bow", 3, 1.6, 1.2, 2.0)]
    adapter = TextAdapter(8, 8).eval()
    with torch.no_grad():
        prototypes = adapter(pipeline.encode_text(texts).pooled)
    pipeline.actions = ActionIndex(
        actions,
        prototypes,
        adapter=adapter,
        check=FarCheck(0.95, 0.9, 0.05, 0.5),
        lexicon=["a", "person", "walks", "someone", "bows", "not", "this"],
    )
    folder = released.parent / "knowing"
    encoder = {"name": "hash", "folder": None, "dim": 8}
    METHOD.save(folder, pipeline, {"network": NETWORK, "text_encoder": encoder}, ABOUT)
    return folder


def test_the_duration_is_chosen_by_the_prompt_and_said(
    knowing: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert run(knowing, tmp_path, "someone bows", "--steps", "1") == 0
    motion = load_motion_npz(tmp_path / "000_someone_bows.npz")
    (seconds,) = load_pipeline(knowing).suited_seconds(["someone bows"])
    assert len(motion.joints3d) == round(20 * seconds) < 80, "nearer to the 1.6 s of a bow than to the 8 s of a walk"
    assert motion.metadata["seconds_chosen"] is True
    assert motion.metadata["nearest_actions"][0] == "polite bow"
    assert motion.metadata["action_distance"] == pytest.approx(0.0, abs=1e-3)
    assert motion.metadata["is_far"] is False
    assert "chosen (as for polite bow and actions like it)" in caplog.text
    assert "is far from all actions" not in caplog.text


def test_a_named_duration_is_kept(knowing: Path, tmp_path: Path) -> None:
    assert run(knowing, tmp_path, "someone bows", "--seconds", "3", "--steps", "1") == 0
    motion = load_motion_npz(tmp_path / "000_someone_bows.npz")
    assert len(motion.joints3d) == 60
    assert "seconds_chosen" not in motion.metadata
    assert motion.metadata["nearest_actions"]


def test_a_far_prompt_and_another_language_are_one_sentence_each_and_no_error(
    knowing: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = ActionIndex.load(knowing / FILE_NAME, TextAdapter.load(knowing / "text_adapter.safetensors"))
    far = "not this"
    assert index.match(HashTextEncoder(8).encode([far]).pooled)[0].is_far
    assert run(knowing, tmp_path, far, "ein mann geht", "--steps", "1", "--seconds", "2") == 0
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert sum("'not this' is far from all actions" in line and "polite bow (bow)" in line for line in warnings) == 1
    assert sum("'ein mann geht' does not look like English" in line for line in warnings) == 1
    assert load_motion_npz(tmp_path / "000_not_this.npz").metadata["is_far"] is True


def test_a_model_without_a_list_takes_five_seconds(
    released: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert run(released, tmp_path, "someone bows", "--steps", "1") == 0
    motion = load_motion_npz(tmp_path / "000_someone_bows.npz")
    assert len(motion.joints3d) == 100
    assert "action_distance" not in motion.metadata
    assert "5.0 s, chosen (the usual duration)" in caplog.text


def test_in_python_the_duration_may_be_skipped(knowing: Path) -> None:
    pipeline = load_pipeline(knowing)
    texts = ["someone bows", "a person walks"]
    lengths = pipeline.sample(texts, num_inference_steps=1).lengths.tolist()
    assert lengths == [round(seconds * pipeline.fps) for seconds in pipeline.suited_seconds(texts)]
    assert lengths[0] < lengths[1]


def test_the_known_actions_are_listed(knowing: Path, released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-actions", "--model", str(knowing)]) == 0
    listed = capsys.readouterr().out
    assert "2 known actions in 2 groups" in listed
    assert [line.split("  ")[0] for line in listed.splitlines()[1:]] == ["bow", "", "walk"]
    assert "    polite bow" in listed
    assert "1.6 s (1.2 to 2.0)" in listed
    assert main(["--list-actions", "--model", str(released)]) == 2
    assert "does not list its known actions" in capsys.readouterr().err


def test_a_damaged_list_of_actions_is_named(knowing: Path, tmp_path: Path) -> None:
    for path in knowing.iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[: len(content) // 2] if path.name == FILE_NAME else content)
    with pytest.raises(ValueError, match=FILE_NAME):
        load_pipeline(tmp_path)


PATCH = {"num_features": 44, "text_dim": 8, "pooled_dim": 8, "dim": 16, "ff_dim": 16, "num_layers": 1, "num_heads": 2}


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ({"network_class": "PatchDenoiser", "network": PATCH}, "there is no list of known actions"),
        ({}, "this network does not use the pooled text vector"),
    ],
)
def test_a_release_that_cannot_pull_prompts_to_known_actions_says_so(
    released: Path, caplog: pytest.LogCaptureFixture, network: dict[str, object], reason: str
) -> None:
    config = json.loads((released / CONFIG_NAME).read_text(encoding="utf-8")) | network
    with caplog.at_level(logging.INFO):
        METHOD.restore(config, released)
        assert "action_pull" not in caplog.text
        config["sampling"]["action_pull"] = 0.5
        METHOD.restore(config, released)
    assert f"action_pull=0.5 has no effect: {reason}" in caplog.text


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """Two seconds of somebody who sways and walks off, at another rate than the model's."""
    save_motion_npz(tmp_path / "reference.npz", Motion(torch.from_numpy(clip(60)), 30.0, text="walks"))
    return tmp_path / "reference.npz"


def test_a_reference_gives_its_duration_and_stands_in_the_metadata(
    released: Path, reference: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["a person bows", "--model", str(released), "--reference", str(reference), "--export", "npz"]
    assert main([*words, "--strength", "0.4", "--num-samples", "2", "--out", str(out)]) == 0
    first, second = (load_motion_npz(path) for path in sorted(out.rglob("*.npz")))
    assert (first.num_frames, first.fps) == (40, 20.0)
    assert first.provenance.more["strength"] == 0.4
    assert first.provenance.more["reference"] == str(reference)
    assert not torch.equal(first.joints3d, second.joints3d)


def test_a_reference_that_lies_is_told_and_its_licence_goes_on(
    released: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    walk = torch.from_numpy(clip(60))
    z_up = torch.stack([walk[..., 0], -walk[..., 2], walk[..., 1] - walk[..., 1].min()], -1)
    path = tmp_path / "z_up.npz"
    save_motion_npz(path, Motion(z_up, 30.0, provenance=Provenance(licence="CC BY 4.0, somebody")))
    words = ["a person bows", "--model", str(released), "--reference", str(path), "--export", "npz"]
    with caplog.at_level(logging.WARNING):
        assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert "is z up?" in caplog.text
    (made,) = (load_motion_npz(path) for path in (tmp_path / "out").rglob("*.npz"))
    assert made.provenance.licence == "CC BY-NC 4.0; CC BY 4.0, somebody"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--strength", "0.4"], "pass that motion with --reference"),
        (["--reference", "REFERENCE", "--strength", "0"], "strength is 0; give a number above 0"),
        (["--reference", "REFERENCE", "--seconds", "5"], "lasts 2.00 s, less than the requested 5 s"),
        (["--reference", "REFERENCE", "--edit", "REFERENCE", "--keep", "0:1"], "choose one"),
        (["--keep", "0:1"], "--edit FILE and --keep A:B must be used together"),
        (["--reference", "point.npz"], "The bones measure 0 meters in all"),
        (["--reference", "centimetres.npz"], "Give joints in meters"),
        (
            ["--reference", "short.npz"],
            "The reference lasts 0.30 s; this model generates 1 to 10 s. Give a longer reference",
        ),
        (["--reference", "walk.bvh"], "motion files (.npz) are read here, and files of HMR systems"),
    ],
)
def test_what_does_not_go_with_a_reference_is_reported(
    released: Path, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    walk = torch.from_numpy(clip(60))
    others = {"point": walk * 0 + 1.0, "centimetres": walk * 100.0, "short": walk[:9]}
    for name, joints3d in others.items():
        save_motion_npz(tmp_path / f"{name}.npz", Motion(joints3d, 30.0))
    (tmp_path / "walk.bvh").write_text("HIERARCHY", encoding="utf-8")
    places = {"REFERENCE": str(reference)} | {path.name: str(path) for path in tmp_path.iterdir()}
    words = [places.get(word, word) for word in words]
    assert main(["a person bows", "--model", str(released), "--out", str(tmp_path / "out"), *words]) == 2
    assert sentence in capsys.readouterr().err

"""`hmr4d quality`: from a store and a model to a card, with nothing faked but the size of things."""

import json
import math
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hmr4d.camera.orbit_rigs import OrbitRig
from hmr4d.cli import fit, generate, lift, quality
from hmr4d.data.action_labels import FEW_CLIPS
from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.store import MotionStore
from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.evaluation import quality as scored_quality
from hmr4d.evaluation import quality_models
from hmr4d.evaluation.action_recognition import (
    MIN_STEPS,
    ClassifierTraining,
    ContentClassifier,
    LabeledMotion,
    labeled_motion,
    load_classifier,
    obtain_classifier,
    training_for,
)
from hmr4d.evaluation.motion_quality import interval, over_repeats, score_motion
from hmr4d.evaluation.novelty import NearestClip
from hmr4d.evaluation.prompt_sets import caption_set, free_set, read_prompts, real_motion
from hmr4d.evaluation.quality_report import markdown
from hmr4d.lifting.request import LiftRequest
from hmr4d.methods.motion2to3.denoiser import MotionDenoiser
from hmr4d.methods.motion2to3.method import METHOD
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline, SamplingOptions
from hmr4d.motion.motion import MotionBatch
from hmr4d.representation.motion2d import Motion2DCodec
from hmr4d.utils.files import file_hash
from tests.data.tiny_keypoints import write_keypoint_store
from tests.evaluators.tiny_keypoint_evaluator import tiny_evaluator

NETWORK = {
    "num_features": 44,
    "text_dim": 16,
    "dim": 16,
    "ff_dim": 16,
    "num_layers": 1,
    "num_heads": 2,
    "dropout": 0.0,
    "text_mode": "tokens",
    "cam_dim": 5,
    "use_views": True,
    "separate_root_head": True,
    "use_condition2d": False,
}
TRAINING = ClassifierTraining(epochs=1, windows=0)
TEXT = {"name": "hash", "folder": None, "dim": 16}


class Playback:
    """Draws the real clips of a split instead of motion of its own."""

    min_seconds, max_seconds = 1.0, 10.0

    def __init__(self, store: MotionStore, split: str) -> None:
        motion = labeled_motion(store, split)
        self.fps = motion.fps
        by_caption = {}
        for clip, index in zip(motion.clips, store.indices(split).tolist(), strict=True):
            for caption, _, _ in store.clip_captions(index):
                by_caption[store.caption_texts[caption], len(clip)] = clip
        self.by_caption = by_caption
        self.calls = 0

    def sample(self, texts, *, seconds, seed, num_inference_steps, guidance_scale):
        self.calls += 1
        clips = [self.by_caption[t, round(s * self.fps)] for t, s in zip(texts, seconds, strict=True)]
        joints3d = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
        return MotionBatch(joints3d, torch.tensor([len(c) for c in clips]), self.fps, list(texts))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> MotionStore:
    return MotionStore.open(import_synthetic(tmp_path_factory.mktemp("data") / "synthetic", num_clips=48).path)


@pytest.fixture(scope="module")
def classifier_folder(store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    obtain_classifier(folder, store, TRAINING)
    return folder


@pytest.fixture
def short_training(monkeypatch):
    monkeypatch.setattr(scored_quality, "training_for", lambda store: TRAINING)


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    pipeline = Motion2to3Pipeline(
        MotionDenoiser(**NETWORK),
        Motion2DCodec("bandai_namco_20fps"),
        NoiseSchedule(),
        sampling=SamplingOptions(num_inference_steps=2, step="ddim", height="clip"),
        rig=OrbitRig(num_views=2, max_angle=90.0, azimuth=0.0),
        fps=20.0,
    )
    folder = tmp_path_factory.mktemp("release") / "tiny"
    METHOD.save(folder, pipeline, {"network": NETWORK, "text_encoder": TEXT}, {})
    return folder


def train_counts(store: MotionStore) -> Counter[str]:
    return Counter(labeled_motion(store, "train").labels)


def arguments(store: MotionStore, classifier: Path, out: Path, *more: str) -> list[str]:
    return ["--store", str(store.path), "--classifier", str(classifier), "--out", str(out), "--device", "cpu", *more]


def test_real_motion_passed_through_scores_as_real(store, classifier_folder, tmp_path):
    classifier, _ = obtain_classifier(classifier_folder, store, TRAINING)
    prompts = caption_set(store, "test", (1.0, 10.0), None)
    playback = Playback(store, "test")
    model = quality_models.Model(playback, {"name": "playback"}, {"name": "playback"})
    draw = quality_models.Draw(2, None, None)
    repeats = [quality_models.generate(model, prompts, r, draw, tmp_path) for r in range(2)]
    first = prompts.contents[0]
    measure = scored_quality.Yardsticks(classifier, NearestClip.of_split(store), 0.05)
    card = scored_quality.score_set(measure, repeats, real_motion(store, "test", prompts), {first})
    assert len(prompts) == len(store.indices("test"))
    assert card["real"]["contents_of_split"]["num_motions"] == card["real"]["contents"][first]["num_motions"]
    for name, real in card["real"]["all"].items():
        generated = card["generated"]["all"][name]
        assert generated["mean"] == pytest.approx(real["mean"], rel=1e-6), name
        assert generated["half_width"] == pytest.approx(0, abs=1e-9), name
    for content, real in card["real"]["contents"].items():
        assert card["generated"]["contents"][content]["accuracy"]["mean"] == real["accuracy"]["mean"]


def test_cached_motion_is_not_drawn_again(store, tmp_path, monkeypatch):
    monkeypatch.setattr(quality_models, "PROMPTS_PER_PART", 2)
    prompts = caption_set(store, "test", (1.0, 10.0), 5)
    playback = Playback(store, "test")
    model = quality_models.Model(playback, {}, {"name": "playback"})
    draw = quality_models.Draw(1, None, None)
    first = quality_models.generate(model, prompts, 0, draw, tmp_path)
    assert playback.calls == 3
    sorted(tmp_path.iterdir())[0].unlink()  # an interrupted run lacks some parts
    again = quality_models.generate(model, prompts, 0, draw, tmp_path)
    assert playback.calls == 4
    assert all(torch.equal(a, b) for a, b in zip(first.clips, again.clips, strict=True))
    quality_models.generate(model, prompts, 0, quality_models.Draw(1, 7, None), tmp_path)
    assert playback.calls == 7  # other steps, other motion
    quality_models.generate(quality_models.Model(playback, {}, {"name": "other"}), prompts, 0, draw, tmp_path)
    assert playback.calls == 10


def test_a_release_with_another_file_is_another_model(release, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(release, copy)
    before = quality_models.load_model(str(copy), torch.device("cpu")).identity
    (copy / "README.md").write_text("A new card.", encoding="utf-8")
    assert quality_models.load_model(str(copy), torch.device("cpu")).identity == before
    Motion2DCodec("cmu_20fps").statistics.save(copy / "statistics.npz")
    assert quality_models.load_model(str(copy), torch.device("cpu")).identity != before


def test_released_model_to_card_and_table(store, classifier_folder, release, tmp_path, short_training, capsys):
    prompts = tmp_path / "mine.yaml"
    prompts.write_text("walk: [a stroll]\nbow: [a polite greeting, thank you]\n", encoding="utf-8")
    words = arguments(
        store,
        classifier_folder,
        tmp_path / "out",
        "--weights",
        str(release),
        "--seeds",
        "2",
        "--limit",
        "3",
        "--prompts",
        "captions",
        str(prompts),
    )
    assert quality.main(words) == 0
    card = json.loads((tmp_path / "out" / "quality.json").read_text(encoding="utf-8"))
    assert card["model"]["sha256"] == file_hash(release / "model.safetensors")
    assert set(card["sets"]) == {"captions", "mine"}
    assert card["sets"]["captions"]["generated"]["num_motions"] == 3
    assert set(card["sets"]["mine"]) == {"generated", "diversity"}
    assert {k: v["num_motions"] for k, v in card["sets"]["mine"]["generated"]["contents"].items()} == {
        "bow": 2,
        "walk": 1,
    }
    assert len(card["sets"]["captions"]["generated"]["all"]["jitter"]["values"]) == 2
    table = (tmp_path / "out" / "quality.md").read_text(encoding="utf-8")
    assert table == markdown(card) == capsys.readouterr().out
    assert "2 steps, guidance 1.0" in table
    assert "hmr4d quality --store" in table and "| generated |" in table
    before = (tmp_path / "out" / "quality.json").read_bytes()
    assert quality.main(words) == 0
    assert (tmp_path / "out" / "quality.json").read_bytes() == before


def test_generated_motion_is_scored_against_2d_keypoints(
    store, classifier_folder, release, tmp_path, short_training, capsys
):
    keypoints = write_keypoint_store(tmp_path / "2d", 33, split="test")
    evaluator = tiny_evaluator(tmp_path / "evaluator-tiny")
    more = ["--weights", str(release), "--seeds", "1", "--prompts", "verbs", "--seconds", "2", "--no-novelty"]
    more += ["--score-2d", str(keypoints.path), str(evaluator), "--repeats", "2"]
    words = arguments(store, classifier_folder, tmp_path / "out", *more)
    assert quality.main(words) == 0
    card = json.loads((tmp_path / "out" / "quality.json").read_text(encoding="utf-8"))["scores_2d"]
    assert (card["set_size"], card["repeats"], card["seen_from"]) == (33, 2, "all directions")
    assert {"fid", "r_precision_top_1", "matching_score", "diversity"} <= card["rows"]["generated"].keys()
    assert "### In 2D" in capsys.readouterr().out
    made = sorted((tmp_path / "out" / "cache").glob("scores_2d_*/repeat_*/*.npz"))
    assert len(made) == 66
    made[0].unlink()  # an interrupted run lacks some motions
    (tmp_path / "out" / "quality.json").unlink()
    assert quality.main(words) == 0
    again = json.loads((tmp_path / "out" / "quality.json").read_text(encoding="utf-8"))["scores_2d"]
    assert made[0].is_file() and again["set"] == card["set"]
    for name, value in card["rows"]["generated"].items():  # made alone, a motion differs by rounding
        assert again["rows"]["generated"][name]["mean"] == pytest.approx(value["mean"], rel=0.05), name


def test_without_a_model_only_real_motion_is_scored(store, classifier_folder, tmp_path, short_training):
    assert quality.main(arguments(store, classifier_folder, tmp_path)) == 0
    card = json.loads((tmp_path / "quality.json").read_text(encoding="utf-8"))
    assert card["model"] is None
    assert set(card["sets"]) == {"captions"}
    assert set(card["sets"]["captions"]) == {"real"}
    assert card["sets"]["captions"]["real"]["all"]["near_train"]["mean"] == pytest.approx(
        1 / 6
    )  # one lies below the 5 % quantile
    assert card["classifier"]["few_train_clips"] == {
        c: n for c, n in sorted(train_counts(store).items()) if n < FEW_CLIPS
    }


def test_every_duration_has_its_own_row(store, classifier_folder, release, tmp_path, short_training):
    prompts = tmp_path / "mine.yaml"
    prompts.write_text("walk: [a stroll]\nbow: [a polite greeting]\n", encoding="utf-8")
    words = arguments(
        store,
        classifier_folder,
        tmp_path,
        "--weights",
        str(release),
        "--seeds",
        "2",
        "--limit",
        "2",
        "--prompts",
        "captions",
        str(prompts),
        "verbs",
        "--seconds",
        "own",
        "2",
        "3",
    )
    assert quality.main(words) == 0
    card = json.loads((tmp_path / "quality.json").read_text(encoding="utf-8"))
    assert set(card["sets"]) == {f"{name}{at}" for name in ("captions", "mine") for at in ("", " at 2 s", " at 3 s")}
    assert card["sets"]["mine at 3 s"]["generated"]["all"]["nearest_train"]["mean"] > 0
    assert set(card["sets"]["mine at 2 s"]["diversity"]) == {"bow", "walk"}
    assert all(row["generated"] > 0 < row["real"] for row in card["sets"]["mine at 2 s"]["diversity"].values())
    durations = card["verbs"]["durations"]
    assert set(durations) == {"2", "3"}
    assert all(len(found["prompts"]) == 2 and 0 <= found["done"]["mean"] <= 1 for found in durations.values())
    real = {row["check"]: row for row in card["verbs"]["real"]}
    assert real["raises_left"]["shown"] == 1.0 and real["raises_left"]["num_shown"] > 0
    assert real["sits_down"]["shown"] is None and real["sits_down"]["others"] == 1.0
    table = (tmp_path / "quality.md").read_text(encoding="utf-8")
    assert "| mine at 3 s | generated |" in table and "Diversity" in table and "done at 3 s" in table


def test_default_prompts_follow_the_data_in_the_store(store):
    assert scored_quality.default_prompts(store) == ["captions", "paraphrases"]
    store.info["settings"] = {"stores": ["cmu", "bandai_namco"]}
    assert scored_quality.default_prompts(store) == ["captions", "paraphrases", "cmu_paraphrases"]
    store.info["settings"] = {"stores": ["cmu"]}
    assert scored_quality.default_prompts(store) == ["captions", "cmu_paraphrases"]


def test_checkpoint_of_a_run(store, classifier_folder, tmp_path, short_training, capsys):
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    overrides = ["network=32x2", "text=hash"]
    from hmr4d.engine.compose import compose_config, save_config

    cfg = compose_config(["exp=motion2to3/finetune_mv", *overrides])
    pipeline = METHOD.build(cfg)
    state = {f"pipeline.denoiser.{k}": v for k, v in pipeline.denoiser.state_dict().items()}
    torch.save({"state_dict": state, "global_step": 12}, checkpoint)
    words = arguments(
        store,
        classifier_folder,
        tmp_path / "out",
        "--checkpoint",
        str(checkpoint),
        "--seeds",
        "1",
        "--limit",
        "2",
        "--steps",
        "1",
        "--prompts",
        "captions",
    )
    assert quality.main([*words, "--exp", "motion2to3/finetune_mv", "--set", *overrides]) == 0
    card = json.loads((tmp_path / "out" / "quality.json").read_text(encoding="utf-8"))
    assert card["model"]["step"] == 12
    assert card["sets"]["captions"]["generated"]["all"]["accuracy"]["half_width"] is None
    config = save_config(cfg, tmp_path / "run")
    assert quality.main(words) == 0
    assert json.loads((tmp_path / "out" / "quality.json").read_text(encoding="utf-8"))["sets"] == card["sets"]
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("hmr4d.diffusion.schedule.NoiseSchedule", "os.getcwd"), encoding="utf-8")
    assert quality.main(words) == 2
    assert "has the targets os.getcwd" in capsys.readouterr().err


def test_what_2d_scores_need_is_looked_for_before_anything_is_made(store, release, tmp_path, capsys):
    words = arguments(store, tmp_path / "no_classifier", tmp_path / "out", "--weights", str(release))
    assert quality.main([*words, "--score-2d", str(tmp_path / "nowhere"), "no-such-evaluator"]) == 2
    assert "no-such-evaluator" in capsys.readouterr().err
    assert not (tmp_path / "no_classifier").exists() and not (tmp_path / "out").exists()


def test_default_folders_follow_the_inputs_and_outputs_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HMR4D_INPUTS", str(tmp_path))
    monkeypatch.setenv("HMR4D_OUTPUTS", str(tmp_path / "results"))
    args = quality.parser().parse_args([])
    assert args.store == tmp_path / "bandai_namco" and args.out == tmp_path / "results" / "quality"
    request = scored_quality.QualityRequest(args.store)
    assert request.out == args.out
    assert request.classifier_folder("cmu") == tmp_path / "results" / "content_classifier" / "cmu"


def test_default_results_of_other_commands_follow_the_outputs_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HMR4D_OUTPUTS", str(tmp_path))
    parsers = {"generated": generate.parser, "lifted": lift.parser, "joints2smpl": fit.published_parser}
    for folder, parser in parsers.items():
        assert Path(parser().get_default("out")) == tmp_path / folder
    assert LiftRequest(Path("keypoints.json")).out == tmp_path / "lifted"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seeds", "0"], "--seeds is 0"),
        (["--limit", "0"], "--limit is 0"),
        (["--score-2d", "nowhere", "evaluator"], "--score-2d compares generated motion"),
        (["--steps", "5"], "--steps and --guidance are for a model"),
        (["--exp", "motion2to3/cmu"], "--exp and --set are for a --checkpoint"),
        (["--repeats", "3"], "--repeats is for --score-2d"),
        (["--seconds", "30"], "--seconds 30 is outside the durations of the model; give 1.2 to 9.8"),
        (["--prompts", "nowhere.yaml"], "Prompts nowhere.yaml not found"),
        (["--checkpoint", "nowhere.ckpt"], "Checkpoint not found: nowhere.ckpt"),
        (["--weights", "no-such-model"], "No released model 'no-such-model'"),
        (["--split", "nowhere"], "has no split 'nowhere'"),
    ],
)
def test_bad_input_is_one_sentence(store, classifier_folder, tmp_path, short_training, capsys, more, message):
    assert quality.main(arguments(store, classifier_folder, tmp_path, *more)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("content", ["walk: a stroll", "- walk", "walk: [1, 2]", "walk: [a"])
def test_bad_prompt_files_are_refused(tmp_path, content):
    path = tmp_path / "prompts.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"prompts\.yaml"):
        read_prompts(path)


def test_prompts_of_unknown_contents_are_refused(store):
    with pytest.raises(ValueError, match="juggling"):
        free_set("mine", {"juggling": ["three balls"]}, store, (1.0, 10.0), None)


def test_classifier_is_trained_again_for_other_settings(store, classifier_folder, tmp_path):
    first, card = obtain_classifier(tmp_path, store, TRAINING)
    written = (tmp_path / "classifier.safetensors").stat().st_mtime_ns
    obtain_classifier(tmp_path, store, TRAINING)
    assert (tmp_path / "classifier.safetensors").stat().st_mtime_ns == written
    other, _ = obtain_classifier(tmp_path, store, replace(TRAINING, seed=1))
    assert not torch.equal(first.head.weight, other.head.weight)
    assert card["num_test"] == len(store.indices("test"))
    with pytest.raises(ValueError, match="was trained on other data than .*, or with other options"):
        obtain_classifier(tmp_path, store, TRAINING, may_replace=False)
    assert torch.equal(load_classifier(tmp_path)[0].head.weight, other.head.weight)


def test_small_stores_train_their_classifier_for_more_epochs(store):
    clips = len(labeled_motion(store, "train"))
    assert clips <= 64 and training_for(store).epochs == MIN_STEPS


def test_motion_that_is_not_finite_is_refused(tmp_path):
    output = MotionBatch(torch.full((1, 4, 22, 3), math.nan), torch.tensor([4]), 20.0, ["a walk"])
    with pytest.raises(ValueError, match="not finite"):
        quality_models.write_motions(tmp_path / "x.npz", output)
    assert not list(tmp_path.iterdir())


def test_frames_with_the_head_below_the_pelvis_are_not_upright(store, classifier_folder):
    classifier, _ = obtain_classifier(classifier_folder, store, TRAINING)
    clip = torch.from_numpy(store.joints3d(0).copy())[:40]
    tumbling = torch.cat([clip[:30], clip[30:] * torch.tensor([1.0, -1.0, 1.0])])
    motion = LabeledMotion([clip, tumbling, tumbling[20:]], ["walk"] * 3, store.fps)
    upright = score_motion(classifier, motion).physical["upright"]
    assert upright.tolist() == pytest.approx([1.0, 0.75, 0.5])


def test_interval_is_students():
    found = interval([0.8, 0.9, 1.0])
    assert found.mean == pytest.approx(0.9)
    assert found.half_width == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)
    assert math.isnan(interval([0.5]).half_width)
    assert math.isnan(interval([math.nan]).mean)


def test_measures_that_do_not_exist_become_null():
    classifier = ContentClassifier(["walk"])
    clip = torch.rand(3, 22, 3, generator=torch.Generator().manual_seed(0))  # too short for a third difference
    card = over_repeats([score_motion(classifier, LabeledMotion([clip], ["walk"], 20.0))])
    assert card["all"]["jitter"]["mean"] is None
    assert card["all"]["accuracy"]["mean"] == 1.0
    json.dumps(card, allow_nan=False)

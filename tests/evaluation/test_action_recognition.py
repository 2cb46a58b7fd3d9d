"""The action-recognition classifier on made-up motions that are easy to tell apart."""

import math

import pytest
import torch

from hmr4d.body.skeleton import SMPL22
from hmr4d.data.action_labels import SYNONYMS, mirror_labels
from hmr4d.evaluation.action_recognition import (
    ClassifierTraining,
    ContentClassifier,
    LabeledMotion,
    accuracy,
    confusions,
    content_features,
    load_classifier,
    save_classifier,
    train_classifier,
    with_windows,
)
from hmr4d.motion.canonical import mirror

FPS = 20.0
OPTIONS = ClassifierTraining(epochs=40, batch_size=16, windows=0)


def figure() -> torch.Tensor:
    """(22, 3) a standing person that faces +z, left at +x."""
    pose = torch.zeros(22, 3)
    for j, name in enumerate(SMPL22.joint_names):
        side = 1.0 if name.startswith("left") else -1.0 if name.startswith("right") else 0.0
        arm = any(part in name for part in ("shoulder", "elbow", "wrist"))
        pose[j] = torch.tensor([side * (0.2 if arm else 0.1), 1.0 + 0.05 * j, 0.0])
    for name, y in (("knee", 0.5), ("ankle", 0.1), ("foot", 0.05)):
        for side in ("left", "right"):
            pose[SMPL22.index(f"{side}_{name}"), 1] = y
    return pose


def clip(label: str, num_frames: int, generator: torch.Generator) -> torch.Tensor:
    """(L, 22, 3) of "walk", "walk-back", "wave-left-hand" or "wave-right-hand" in some heading."""
    t = torch.arange(num_frames) / FPS
    joints = figure().expand(num_frames, 22, 3).clone()
    if label in ("walk", "walk-back"):
        joints[..., 2] += (1.0 if label == "walk" else -1.0) * t[:, None]
    else:
        wrist = SMPL22.index("left_wrist")
        joints[:, wrist, 1] += 0.4 + 0.2 * torch.sin(6 * t)
        joints = joints if label == "wave-left-hand" else mirror(joints)
    angle = torch.rand((), generator=generator).item() * 2 * math.pi
    turn = torch.tensor(
        [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]], dtype=torch.float32
    )
    return joints @ turn.T + torch.tensor([1.0, 0, -2.0])


def motions(labels: list[str], seed: int, count: int = 6) -> LabeledMotion:
    generator = torch.Generator().manual_seed(seed)
    wanted = [label for label in labels for _ in range(count)]
    frames = torch.randint(24, 60, (len(wanted),), generator=generator).tolist()
    return LabeledMotion([clip(w, n, generator) for w, n in zip(wanted, frames, strict=True)], wanted, FPS)


@pytest.fixture(scope="module")
def classifier() -> ContentClassifier:
    # The right hand is never shown: its label is known from one clip, its looks from mirrored left hands.
    train = motions(["walk", "walk-back", "wave-left-hand"], seed=0, count=12)
    one = motions(["wave-right-hand"], seed=1, count=1)
    both = LabeledMotion([*train.clips, *one.clips], [*train.labels, *one.labels], FPS)
    return train_classifier(both, motions(["walk"], seed=2), options=OPTIONS)


def test_contents_are_recognized_in_any_heading_and_position(classifier):
    test = motions(["walk", "walk-back", "wave-left-hand", "wave-right-hand"], seed=3)
    predicted = classifier.predict(test)
    assert accuracy(predicted, test.labels) == 1.0
    bigger = LabeledMotion([2 * c for c in test.clips], test.labels, FPS)
    assert classifier.predict(bigger) == predicted


def test_batch_and_padding_change_nothing(classifier):
    test = motions(["walk", "wave-left-hand"], seed=4, count=3)
    lengths = torch.tensor([len(c) for c in test.clips])
    padded = torch.nn.utils.rnn.pad_sequence(test.clips, batch_first=True, padding_value=5.0)
    together = classifier(content_features(padded, lengths, FPS), lengths)
    for i, one in enumerate(test.clips):
        alone = classifier(content_features(one[None], lengths[i : i + 1], FPS), lengths[i : i + 1])
        assert torch.allclose(together[i], alone[0], atol=1e-5)


def test_other_frame_rate_is_resampled(classifier):
    slow = motions(["walk", "wave-left-hand"], seed=5)
    fast = LabeledMotion([c.repeat_interleave(2, 0)[:-1] for c in slow.clips], slow.labels, 2 * FPS)
    smooth = [(c + torch.cat([c[1:], c[-1:]])) / 2 for c in fast.clips]
    assert classifier.predict(LabeledMotion(smooth, fast.labels, 2 * FPS)) == slow.labels


def test_same_seed_same_classifier():
    train = motions(["walk", "walk-back"], seed=6)
    short = ClassifierTraining(epochs=1, batch_size=4)
    a, b = (train_classifier(train, train, options=short) for _ in range(2))
    c = train_classifier(train, train, options=ClassifierTraining(epochs=1, batch_size=4, seed=1))
    assert torch.equal(a.head.weight, b.head.weight)
    assert not torch.equal(a.head.weight, c.head.weight)


def test_saved_and_loaded(classifier, tmp_path):
    save_classifier(classifier, tmp_path, {"store": "toy", "test_accuracy": 1.0})
    loaded, card = load_classifier(tmp_path)
    test = motions(["walk", "wave-right-hand"], seed=7)
    assert loaded.predict(test) == classifier.predict(test)
    assert (card["store"], card["test_accuracy"]) == ("toy", 1.0)


def test_missing_files_are_all_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"classifier\.safetensors.*classifier\.json"):
        load_classifier(tmp_path)


def test_wrong_skeleton_is_refused(classifier):
    with pytest.raises(ValueError, match=r"Clip 0 has shape \(30, 24, 3\)"):
        classifier.predict(LabeledMotion([torch.zeros(30, 24, 3)], ["walk"], FPS))


def test_mirror_labels_swap_sides_and_omit_one_handed_gestures():
    twins = mirror_labels(["walk", "walk-left", "bye", "guide", "respond", "raise-up-right-hand", "juggling"])
    assert twins == {"walk": "walk", "walk-left": "walk-right", "raise-up-right-hand": "raise-up-left-hand"}


def test_features_are_invariant_to_position_heading_and_size():
    generator = torch.Generator().manual_seed(8)
    joints = clip("walk", 30, generator)
    other = 1.7 * joints @ torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]).T + torch.tensor([3.0, 0.0, 1.0])
    a, b = (content_features(x[None], torch.tensor([30]), FPS) for x in (joints, other))
    assert torch.allclose(a, b, atol=1e-4)
    assert torch.allclose(a[0, :, -1], a[0, :1, -1].expand(30), atol=1e-4)
    assert a[0, 0, -1] > 0.5  # forward is +z


def test_model_is_small():
    assert sum(p.numel() for p in ContentClassifier([str(i) for i in range(24)]).parameters()) < 200_000


def test_accuracy_and_confusions():
    predicted = ["run", "dash", "walk", "walk"]
    wanted = ["dash", "dash", "walk", "run"]
    assert accuracy(predicted, wanted) == 0.5
    assert accuracy(predicted, wanted, SYNONYMS) == 0.75
    assert math.isnan(accuracy([], []))
    assert confusions(predicted, wanted) == [("dash", "run", 1), ("run", "walk", 1)]


def test_window_lengths_do_not_depend_on_the_content():
    train = motions(["walk", "wave-left-hand"], seed=4, count=3)
    options = ClassifierTraining(windows=3, window_seconds=(1.0, 2.0))
    shown = with_windows(train, options)
    assert list(shown.labels[len(train) :]) == [label for label in train.labels for _ in range(3)]
    assert all(20 <= len(clip) <= 40 for clip in shown.clips[len(train) :])
    again = with_windows(train, options)
    assert all(torch.equal(a, b) for a, b in zip(shown.clips, again.clips, strict=True))


def test_special_cases_are_correct_for_the_general_content():
    assert accuracy(["walk-left", "wave-both-hands"], ["walk-sideways", "wave"]) == 1.0
    assert accuracy(["wave"], ["wave-left-hand"]) == 0.0
    assert confusions(["walk-left"], ["walk-sideways"]) == []


def test_groups_of_cmu_have_mirror_images():
    twins = mirror_labels(["run-turn-left", "salsa", "walk-left", "guide", "juggling"])
    assert twins == {"run-turn-left": "run-turn-right", "salsa": "salsa", "walk-left": "walk-right"}

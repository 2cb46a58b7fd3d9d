"""An action-recognition classifier: a small network trained only on real joints and their content labels.

It never sees text or generated motion. Its accuracy on generated motion, compared with its accuracy on real motion,
measures how often a model performs the requested action.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from hmr4d.data.action_labels import FEW_CLIPS, SYNONYMS, is_right, labeled_clips, mirror_labels
from hmr4d.data.store import MotionStore
from hmr4d.data.windows import FreeWindows
from hmr4d.metrics.physical import to_neutral_height
from hmr4d.motion.canonical import face_first_frame, mirror
from hmr4d.motion.resampling import resample_positions
from hmr4d.utils.files import atomic_path, write_json
from hmr4d.utils.progress import progress
from hmr4d.utils.randomness import ItemRandom, mix_seed

logger = logging.getLogger(__name__)

MIN_STEPS = 900  # training steps; with a quarter of them the accuracy on CMU validation clips is 84 % instead of 91 %
WEIGHTS_NAME, CARD_NAME = "classifier.safetensors", "classifier.json"


@dataclass(frozen=True)
class LabeledMotion:
    """Clips with one label per clip.

    Attributes:
        clips: joints (L, J, 3) of each clip, meters, y up; L varies.
        labels: one per clip.
        fps: frame rate of all clips.
    """

    clips: Sequence[Tensor]
    labels: Sequence[str]
    fps: float

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ClassifierTraining:
    """Training options of the classifier.

    Attributes:
        seed: seed of the initial weights, the order of the clips and the augmentation.
        epochs: passes; a pass draws as many clips as the training set has.
        batch_size, learning_rate, weight_decay: options of AdamW; the learning rate decays as a cosine.
        max_seconds: longer clips train in random windows of this length.
        min_crop: smallest fraction of the frames that a random crop keeps.
        heading_noise: standard deviation of a random rotation of the clip about the up axis, degrees.
        joint_noise, velocity_noise: largest standard deviation of noise on the joints, meters, and on the root
            velocity, m/s, per frame and coordinate. Each clip draws its own fraction of both. The noise teaches the
            classifier to recognize actions in jittery motion; other metrics measure jitter.
        balance_power: a clip is drawn with probability proportional to n^-power, n clips having its label.
        windows: random windows added for each clip, `window_seconds[0]` to `window_seconds[1]` seconds long, cut or
            extended as in the training of a generator (`FreeWindows`). They teach the classifier actions of any
            duration.
    """

    seed: int = 0
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    max_seconds: float = 10.0
    min_crop: float = 0.85
    heading_noise: float = 8.0
    joint_noise: float = 0.03
    velocity_noise: float = 0.5
    balance_power: float = 0.5
    windows: int = 2
    window_seconds: tuple[float, float] = (2.0, 9.8)


def training_for(store: MotionStore) -> ClassifierTraining:
    """Training options for a store: 20 epochs, or more if a small store would give fewer than `MIN_STEPS` steps."""
    usual = ClassifierTraining()
    batches = math.ceil(len(labeled_clips(store, "train")) / usual.batch_size)
    return replace(usual, epochs=max(usual.epochs, math.ceil(MIN_STEPS / batches)))


def labeled_motion(store: MotionStore, split: str, *, kind: str = "content") -> LabeledMotion:
    """All clips of a split that have a content label, in the order of the split."""
    clips = labeled_clips(store, split).tolist()
    joints = [torch.tensor(store.joints3d(c)) for c in clips]
    return LabeledMotion(joints, [store.labels[kind][c] for c in clips], store.fps)


def content_features(joints3d: Tensor, lengths: Tensor, fps: float) -> Tensor:
    """Input features of the classifier: (B, L, 3 J), zero beyond `lengths`.

    The clip is scaled to the neutral body height and turned to face +z in its first frame. A frame holds the joints 1
    .. J - 1 relative to the root, meters, then the root velocity, m/s. The first frame repeats the velocity of the
    second.

    Args:
        joints3d: (B, L, J, 3) meters, world, y up; L >= 2.
        lengths: (B,) valid frames.
        fps: frames per second.
    """
    joints3d = face_first_frame(to_neutral_height(joints3d, lengths))
    root = joints3d[:, :, :1]
    step = root.diff(dim=1) * fps
    velocity = torch.cat([step[:, :1], step], 1)
    features = torch.cat([joints3d[:, :, 1:] - root, velocity], 2).flatten(2)
    valid = torch.arange(features.shape[1], device=features.device) < lengths.to(features.device)[:, None]
    return features * valid[..., None]


class ContentClassifier(nn.Module):
    """Three convolutions over time, mean and maximum over the valid frames, one linear layer.

    Args:
        labels: label of each output.
        num_joints: J.
        hidden: number of channels.
        fps: frame rate of the input.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, labels: Sequence[str], *, num_joints: int = 22, hidden: int = 96, fps: float = 20.0) -> None:
        super().__init__()
        self.labels, self.num_joints, self.hidden, self.fps = tuple(labels), num_joints, hidden, fps
        widths = (3 * num_joints, hidden, hidden, hidden)
        self.convs = nn.ModuleList(
            nn.Conv1d(a, b, 5, stride=stride, padding=2)
            for a, b, stride in zip(widths[:-1], widths[1:], (2, 2, 1), strict=True)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in self.convs)
        self.head = nn.Linear(2 * hidden, len(labels))
        self.register_buffer("mean", torch.zeros(3 * num_joints))
        self.register_buffer("std", torch.ones(3 * num_joints))

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, number of labels) of features (B, L, 3 J); frames beyond `lengths` have no effect."""
        lengths = lengths.to(features.device)
        valid = _valid(features.shape[1], lengths)
        x = (features - self.mean) / self.std * valid
        for conv, norm in zip(self.convs, self.norms, strict=True):
            assert isinstance(conv, nn.Conv1d)
            lengths = (lengths + conv.stride[0] - 1) // conv.stride[0]
            x = conv(x.transpose(1, 2)).transpose(1, 2)
            valid = _valid(x.shape[1], lengths)
            x = nn.functional.gelu(norm(x)) * valid
        mean = x.sum(1) / lengths[:, None]
        highest = x.masked_fill(~valid, float("-inf")).amax(1)
        return self.head(torch.cat([mean, highest], -1))

    @torch.no_grad()
    def predict(self, motion: LabeledMotion, *, batch_size: int = 64) -> list[str]:
        """The most likely label of each clip. Clips at another frame rate are resampled. `motion.labels` is not used.

        Raises:
            ValueError: a clip has another number of joints or fewer than two frames.
        """
        for number, clip in enumerate(motion.clips):
            if clip.ndim != 3 or clip.shape[1:] != (self.num_joints, 3) or len(clip) < 2:
                raise ValueError(
                    f"Clip {number} has shape {tuple(clip.shape)}; the classifier expects (L, {self.num_joints}, 3), "
                    "L >= 2."
                )
        self.eval()
        predicted: list[str] = []
        for start in range(0, len(motion.clips), batch_size):
            clips = [resample_clip(c, motion.fps, self.fps) for c in motion.clips[start : start + batch_size]]
            joints3d, lengths = _pad(clips)
            logits = self(content_features(joints3d, lengths, self.fps).to(self.mean), lengths)
            predicted += [self.labels[i] for i in logits.argmax(-1).tolist()]
        return predicted


def resample_clip(clip: Tensor, fps: float, target_fps: float) -> Tensor:
    """(L, J, 3) at `target_fps`, interpolated by a cubic spline; the clip itself if the rates are equal."""
    if fps == target_fps:
        return clip
    return torch.from_numpy(resample_positions(clip.cpu().numpy(), fps, target_fps))


def train_classifier(
    train: LabeledMotion, val: LabeledMotion, *, options: ClassifierTraining | None = None
) -> ContentClassifier:
    """Trains a classifier on real clips. The result depends on the data, the options and the seed alone.

    Clips whose label has a mirror image (`mirror_labels`) are added mirrored. The accuracy on `val` is logged.
    """
    options = options or ClassifierTraining()
    labels = sorted(set(train.labels))
    shown = with_windows(train, options)
    features, targets = _training_set(shown, labels)
    lengths = torch.tensor([len(f) for f in features])
    generator = torch.Generator().manual_seed(options.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        classifier = ContentClassifier(labels, num_joints=train.clips[0].shape[1], fps=train.fps)
    everything = torch.cat(features)
    classifier.mean.copy_(everything.mean(0))
    classifier.std.copy_(everything.std(0).clamp(min=0.02))
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    batches = math.ceil(len(train) / options.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * batches)
    weights = torch.bincount(targets, minlength=len(labels)).double()[targets] ** -options.balance_power
    for epoch in progress(range(options.epochs), "action-recognition classifier", unit="epoch"):
        classifier.train()
        drawn = torch.multinomial(weights, batches * options.batch_size, replacement=True, generator=generator)
        # Clips of similar length share a batch; the order of the batches stays random.
        drawn = drawn[lengths[drawn].argsort(stable=True)].view(batches, -1)
        for batch in drawn[torch.randperm(batches, generator=generator)]:
            x, batch_lengths = _augment([features[i] for i in batch.tolist()], train.fps, options, generator)
            loss = cross_entropy(classifier(x, batch_lengths), targets[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if epoch % 5 == 4 or epoch == options.epochs - 1:
            value = accuracy(classifier.predict(val), val.labels)
            logger.info("Content classifier, epoch %d: loss %.3f, val accuracy %.3f.", epoch + 1, loss.item(), value)
    return classifier.eval()


def accuracy(predicted: Sequence[str], wanted: Sequence[str], groups: Sequence[Sequence[str]] = ()) -> float:
    """Fraction of the predicted labels that are correct (`is_right`); labels of one group count as equal.

    The accuracy of no labels is NaN.
    """
    name = {label: group[0] for group in groups for label in group}
    hits = [is_right(p, w) or name.get(p, p) == name.get(w, w) for p, w in zip(predicted, wanted, strict=True)]
    return sum(hits) / len(hits) if hits else math.nan


def confusions(predicted: Sequence[str], wanted: Sequence[str]) -> list[tuple[str, str, int]]:
    """(wanted, predicted, count) of the wrong labels, most frequent first."""
    pairs = Counter((w, p) for p, w in zip(predicted, wanted, strict=True) if not is_right(p, w))
    return [(w, p, n) for (w, p), n in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))]


def accuracy_by_content(predicted: Sequence[str], wanted: Sequence[str]) -> dict[str, float]:
    """Content -> accuracy over its motions."""
    pairs = list(zip(predicted, wanted, strict=True))
    return {c: accuracy(*zip(*[pair for pair in pairs if pair[1] == c], strict=True)) for c in sorted(set(wanted))}


def obtain_classifier(
    folder: Path, store: MotionStore, options: ClassifierTraining, *, may_replace: bool = True
) -> tuple[ContentClassifier, dict[str, Any]]:
    """The saved classifier and its card. Trains a new one if there is none or if it was trained on other data.

    Raises:
        ValueError: it was trained on other data or with other options, and `may_replace` is False.
    """
    metadata = training_metadata(store, options)
    if (folder / CARD_NAME).is_file() and (folder / WEIGHTS_NAME).is_file():
        classifier, card = load_classifier(folder)
        if all(card.get(key) == value for key, value in json.loads(json.dumps(metadata)).items()):
            return classifier, card
        if not may_replace:
            raise ValueError(
                f"The classifier in {folder} was trained on other data than {store.path}, or with other options. Give "
                "another folder with --classifier, which gets a new one, or leave the option out."
            )
        logger.info("The classifier in %s was trained on other data or with other options; training it again.", folder)
    logger.info("Training the action-recognition classifier on real joints of %s.", store.name)
    train, val, test = (labeled_motion(store, split) for split in ("train", "val", "test"))
    classifier = train_classifier(train, val, options=options)
    predicted = classifier.predict(test)
    by_content = accuracy_by_content(predicted, test.labels)
    counts = Counter(train.labels)
    metadata |= {
        "val_accuracy": accuracy(classifier.predict(val), val.labels),
        "test_accuracy": accuracy(predicted, test.labels),
        "test_accuracy_synonyms": accuracy(predicted, test.labels, SYNONYMS),
        "test_content_mean_accuracy": sum(by_content.values()) / len(by_content),
        "test_contents": {c: {"num": test.labels.count(c), "accuracy": value} for c, value in by_content.items()},
        "test_confusions": confusions(predicted, test.labels),
        "num_test": len(test),
        "without_test_clips": sorted(set(counts) - set(test.labels)),
        "few_train_clips": {c: n for c, n in sorted(counts.items()) if n < FEW_CLIPS},
    }
    save_classifier(classifier, folder, metadata)
    logger.info(
        "Content classifier: accuracy %.4f on %d real test clips, %.4f averaged over %d contents.",
        metadata["test_accuracy"],
        len(test),
        metadata["test_content_mean_accuracy"],
        len(by_content),
    )
    return load_classifier(folder)


def save_classifier(classifier: ContentClassifier, folder: str | Path, card_entries: Mapping[str, Any]) -> None:
    """Writes the weights and a JSON card with the constructor's arguments and metadata of the training."""
    folder = Path(folder)
    with atomic_path(folder / WEIGHTS_NAME) as temporary:
        save_file({k: v.contiguous() for k, v in classifier.state_dict().items()}, temporary)
    shape = {"num_joints": classifier.num_joints, "hidden": classifier.hidden, "fps": classifier.fps}
    write_json(folder / CARD_NAME, {"labels": classifier.labels, **shape, **card_entries})


def load_classifier(folder: str | Path) -> tuple[ContentClassifier, dict[str, Any]]:
    """The saved classifier and its card.

    Raises:
        FileNotFoundError: the weights or the card is missing.
    """
    folder = Path(folder)
    missing = [str(folder / name) for name in (WEIGHTS_NAME, CARD_NAME) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"No action-recognition classifier: {', '.join(missing)} missing. Train one with hmr4d quality."
        )
    card = json.loads((folder / CARD_NAME).read_text(encoding="utf-8"))
    classifier = ContentClassifier(
        card["labels"], num_joints=card["num_joints"], hidden=card["hidden"], fps=card["fps"]
    )
    classifier.load_state_dict(load_file(folder / WEIGHTS_NAME))
    return classifier.eval(), card


def training_metadata(store: MotionStore, options: ClassifierTraining) -> dict[str, Any]:
    """Metadata that determine the result of a training. A saved classifier with equal metadata is reused."""
    data = {"store": store.name, "num_clips": len(store), "num_frames": int(store.lengths.sum())}
    return data | {"store_settings": store.info.get("settings", {}), "training": asdict(options)}


def _valid(num_frames: int, lengths: Tensor) -> Tensor:
    """(B, L, 1) bool, True for real frames."""
    return (torch.arange(num_frames, device=lengths.device) < lengths[:, None])[..., None]


def _pad(clips: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    return pad_sequence(list(clips), batch_first=True), torch.tensor([len(c) for c in clips])


def with_windows(train: LabeledMotion, options: ClassifierTraining) -> LabeledMotion:
    """The clips and random windows of them, whose length does not depend on the content (see `ClassifierTraining`)."""
    if not options.windows:
        return train
    shortest, longest = options.window_seconds
    free = FreeWindows(shortest, longest)
    clips, labels = list(train.clips), list(train.labels)
    for number, (clip, label) in enumerate(progress(list(zip(train.clips, train.labels, strict=True)), "windows")):
        for variant in range(options.windows):
            seed = mix_seed(options.seed, number, variant)
            frames = free.num_frames(seed, train.fps)
            clips.append(free.fit(clip, frames, fps=train.fps, rng=ItemRandom.from_seed(seed), clip=number))
            labels.append(label)
    return LabeledMotion(clips, labels, train.fps)


def _training_set(train: LabeledMotion, labels: Sequence[str]) -> tuple[list[Tensor], Tensor]:
    """Features (L, D) and targets of all clips and of all mirrored clips that have a label."""
    twins = {label: twin for label, twin in mirror_labels(labels).items() if twin in labels}
    pairs = list(zip(train.clips, train.labels, strict=True))
    pairs += [(mirror(clip), twins[label]) for clip, label in pairs if label in twins]
    features = [content_features(clip[None], torch.tensor([len(clip)]), train.fps)[0] for clip, _ in pairs]
    return features, torch.tensor([labels.index(label) for _, label in pairs])


def _augment(
    features: Sequence[Tensor], fps: float, options: ClassifierTraining, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A padded batch of randomly cropped, rotated and noisy features, and its lengths."""
    longest = round(options.max_seconds * fps)
    crops = []
    for clip in features:
        share, place = torch.rand(2, generator=generator).tolist()
        length = min(len(clip), max(2, round(len(clip) * (options.min_crop + (1 - options.min_crop) * share))), longest)
        start = int(place * (len(clip) - length + 1))
        crops.append(clip[start : start + length])
    x, lengths = _pad(crops)
    angle = torch.randn(len(x), generator=generator) * math.radians(options.heading_noise)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    points = x.unflatten(-1, (-1, 3))  # (B, L, J, 3)
    turned = [cos * points[..., 0] + sin * points[..., 2], points[..., 1], cos * points[..., 2] - sin * points[..., 0]]
    points = torch.stack(turned, -1)
    scale = points.new_full((points.shape[2], 1), options.joint_noise)
    scale[-1] = options.velocity_noise
    share = torch.rand(len(x), 1, 1, 1, generator=generator)
    points = points + share * scale * torch.randn(points.shape, generator=generator)
    return points.flatten(2) * _valid(x.shape[1], lengths), lengths

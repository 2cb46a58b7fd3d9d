"""Labels of real motion for the recognition of actions: equivalent labels, and labels of mirrored clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources

import numpy as np
import yaml

from hmr4d.data.captions import content_names, mirror_content
from hmr4d.data.store import MotionStore

FEW_CLIPS = 4  # the card lists contents with fewer training clips than this
ONE_HANDED = ("bye", "guide", "respond")  # one-handed actions; the other hand has no label, so mirrored clips have none
# Groups of contents with the same movement. The second accuracy (`*_synonyms`) counts a group as one class.
SYNONYMS = (
    ("run", "dash"),
    ("bye", "wave-right-hand"),
    ("byebye", "wave-both-hands", "wave"),
    ("respond", "raise-up-left-hand"),
    ("slash", "sword"),
)
# General content -> its special cases. A prompt for a wave leaves the hand open, so a wave with the left hand is
# correct. A prompt for a wave with the left hand is not satisfied by a wave in general.
SPECIAL_CASES: Mapping[str, tuple[str, ...]] = {
    "walk-sideways": ("walk-left", "walk-right"),
    "wave": ("wave-left-hand", "wave-right-hand", "wave-both-hands", "bye", "byebye"),
}
_OTHER_SIDE = {"left": "right", "right": "left"}


def is_right(predicted: str, wanted: str) -> bool:
    """Whether the predicted content is the wanted one or a special case of it."""
    return predicted == wanted or predicted in SPECIAL_CASES.get(wanted, ())


@lru_cache(maxsize=1)
def cmu_paraphrases() -> dict[str, list[str]]:
    """CMU group -> its held-out prompts."""
    return _prompts("cmu_paraphrases.yaml")


@lru_cache(maxsize=1)
def bandai_namco_paraphrases() -> dict[str, list[str]]:
    """Bandai-Namco content -> its held-out prompts."""
    return _prompts("bandai_namco_paraphrases.yaml")


def _prompts(name: str) -> dict[str, list[str]]:
    return yaml.safe_load((resources.files("hmr4d.data") / "resources" / name).read_text(encoding="utf-8"))


def mirror_labels(labels: Sequence[str]) -> dict[str, str]:
    """Label -> label of the mirrored clip. Labels of unknown data sets or without a mirror image are missing."""
    twins = {}
    for label in set(labels) - set(ONE_HANDED):
        if label in content_names():
            twins[label] = mirror_content(label)
        elif label in cmu_paraphrases():
            twins[label] = "-".join(_OTHER_SIDE.get(word, word) for word in label.split("-"))
    return twins


def contents_of(store: MotionStore) -> np.ndarray:
    """(N,) content of every clip, "" for none; ValueError for a store without such labels, such as one of own files."""
    if "content" not in store.labels:
        raise ValueError(
            f"Clips of store '{store.name}' have no action labels, so actions cannot be recognized in them. Stores of "
            "Bandai-Namco and CMU motion have labels. Own motions are scored by their captions: "
            "global/task=text2motion/test; see docs/evaluation.md."
        )
    return np.array(store.labels["content"], dtype=object)


def labeled_clips(store: MotionStore, split: str) -> np.ndarray:
    """(n,) indices of the clips of a split that have a content label, in the order of the split. Joined clips have
    none."""
    clips, contents = store.indices(split), contents_of(store)
    return clips[contents[clips] != ""]


def clips_of(store: MotionStore, content: str) -> np.ndarray:
    """(n,) indices of the clips labeled with a content or, if the store has none, with one of its special cases."""
    contents = contents_of(store)
    own = np.flatnonzero(contents == content)
    return own if len(own) else np.flatnonzero(np.isin(contents, SPECIAL_CASES.get(content, ())))

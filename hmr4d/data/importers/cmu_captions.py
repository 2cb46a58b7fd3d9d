"""Caption files of the CMU data: actions over time, and matching sentences.

Files in `hmr4d/data/resources/cmu_captions`, YAML, all read together:

    actions:        # action -> its group, the label that quality is measured by, and at least 8 sentences
      jump rope: {group: hop, sentences: [...]}
    descriptions:   # CMU's own description of a clip -> action of the whole clip
      jump rope: jump rope
    clips:          # clip -> stretches [start, end, action] in seconds; goes before `descriptions`
      "13_29": [[0.0, 11.5, jumping jacks], [11.5, 19.0, side twists]]
    left_out:       # clip -> reason
      "xx_yy": nothing to name
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(str(resources.files("hmr4d.data") / "resources" / "cmu_captions"))
SECTIONS = ("actions", "descriptions", "clips", "left_out")
MIN_SENTENCES = 8
OTHER = "other"  # group of clips that no caption file names
GROUPS = (
    "walk", "walk-turn-left", "walk-turn-right", "walk-stop", "walk-back", "walk-sideways", "walk-uneven", "sneak",
    "run", "run-turn-left", "run-turn-right", "run-stop", "jump-over", "duck-under", "dive-roll", "jump-up",
    "jump-forward", "jump-down", "hop", "reach-up", "climb-steps", "climb-ladder", "climb-frame", "hang", "sit",
    "drink", "wash-windows", "mop", "wash-self", "pick-up", "punch", "kick", "karate", "sword", "kick-ball", "dribble",
    "shoot-basket", "wave", "point", "direct-traffic", "jumping-jacks", "squats", "side-twists", "stretch",
    "jog-in-place", "laugh", "balance", "ballet", "salsa", "indian-dance", "pop-dance", "cartwheel", "flip", "animal",
    "pantomime", "referee-signals", "motorcycle", "stand", OTHER,
)  # fmt: skip


@dataclass(frozen=True)
class Action:
    """An action: its group, and sentences that describe every section with this action."""

    name: str
    group: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Stretch:
    """Seconds [start, end) of a clip with one action; end None: to the end of the clip."""

    action: Action
    start: float = 0.0
    end: float | None = None


@dataclass
class CmuCaptions:
    """All caption files together.

    Attributes:
        actions: by name.
        descriptions: CMU's description -> action.
        clips: clip -> stretches in order of time.
        left_out: clip -> reason.
    """

    actions: dict[str, Action] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    clips: dict[str, list[Stretch]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def stretches(self, clip: str, description: str | None) -> list[Stretch]:
        """Sections of a clip: its own, or the whole clip by its description, which is its caption if there are no
        others; none without a description."""
        if clip in self.clips:
            return self.clips[clip]
        if description is None:
            return []
        action = self.actions.get(self.descriptions.get(description, ""))
        return [Stretch(action or Action(description, OTHER, (description,)))]


def read_cmu_captions(folder: str | Path = FOLDER) -> CmuCaptions:
    """Reads and checks every .yaml file of a folder; an empty result for a folder without one.

    Raises:
        ValueError: a file is not YAML, has an unknown group or action, fewer than MIN_SENTENCES sentences, a duplicate
            clip, action or description, or overlapping sections; the message names file and entry.
    """
    captions = CmuCaptions()
    files = [(path.name, _load(path)) for path in sorted(Path(folder).glob("*.yaml"))]
    for name, content in files:
        if unknown := content.keys() - set(SECTIONS):
            raise ValueError(f"{name}: unknown sections {sorted(map(str, unknown))}; known are {', '.join(SECTIONS)}.")
        for action, entry in _mapping(content, "actions", name).items():
            _once(captions.actions, action, f"{name}: action")
            captions.actions[action] = _action(str(action), entry, f"{name}, action '{action}'")
    for name, content in files:  # actions may be in any of the files
        for description, action in _mapping(content, "descriptions", name).items():
            _once(captions.descriptions, description, f"{name}: description")
            _known(captions, action, f"{name}, description '{description}'")
            captions.descriptions[description] = action
        for clip, rows in _mapping(content, "clips", name).items():
            _once(captions.clips, clip, f"{name}: clip")
            captions.clips[clip] = _stretches(captions, rows, f"{name}, clip '{clip}'")
        for clip, reason in _mapping(content, "left_out", name).items():
            _once(captions.left_out | captions.clips, clip, f"{name}: clip")
            if not isinstance(reason, str) or not reason.strip():
                raise ValueError(f"{name}, left_out '{clip}': expected a reason, got {reason!r}.")
            captions.left_out[clip] = reason.strip()
    if both := sorted(captions.left_out.keys() & captions.clips.keys()):
        raise ValueError(f"Clips have both sections and an entry in left_out: {', '.join(both)}.")
    return captions


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe loader that refuses keys given twice and keeps clip names such as 13_29 as text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' is given twice", key.start_mark)
            seen.add(key.value)
            if isinstance(key, yaml.ScalarNode):
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} must hold a mapping with some of {', '.join(SECTIONS)}.")
    return content


def _mapping(content: Mapping[str, Any], section: str, name: str) -> Mapping[str, Any]:
    value = content.get(section) or {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: '{section}' must hold a mapping, got {type(value).__name__}.")
    return value


def _once(table: Mapping[str, object], key: str, where: str) -> None:
    if key in table:
        raise ValueError(f"{where} '{key}' is given twice.")


def _known(captions: CmuCaptions, action: Any, where: str) -> Action:
    if action not in captions.actions:
        raise ValueError(f"{where}: there is no action '{action}'.")
    return captions.actions[action]


def _action(name: str, entry: Any, where: str) -> Action:
    if not isinstance(entry, Mapping) or set(entry) != {"group", "sentences"}:
        raise ValueError(f"{where}: expected {{group: ..., sentences: [...]}}.")
    group, sentences = entry["group"], entry["sentences"]
    if group not in GROUPS:
        raise ValueError(f"{where}: unknown group '{group}'; known are {', '.join(GROUPS)}.")
    if not isinstance(sentences, list) or not all(isinstance(s, str) and s.strip() for s in sentences):
        raise ValueError(f"{where}: sentences must be a list of text.")
    distinct = tuple(dict.fromkeys(sentence.strip() for sentence in sentences))
    if len(distinct) < MIN_SENTENCES:
        raise ValueError(f"{where}: {len(distinct)} different sentences; at least {MIN_SENTENCES} are needed.")
    return Action(name, group, distinct)


def _stretches(captions: CmuCaptions, rows: Any, where: str) -> list[Stretch]:
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{where}: expected a list of [start, end, action].")
    stretches: list[Stretch] = []
    for row in rows:
        is_row = isinstance(row, list) and len(row) == 3 and all(_is_seconds(value) for value in row[:2])
        if not is_row or not 0 <= row[0] < row[1]:
            raise ValueError(f"{where}: expected [start, end, action] with 0 <= start < end in seconds, got {row}.")
        if stretches and row[0] < (stretches[-1].end or 0.0):
            raise ValueError(f"{where}: the stretch {row[:2]} begins before the one above ends.")
        stretches.append(Stretch(_known(captions, row[2], where), float(row[0]), float(row[1])))
    return stretches


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

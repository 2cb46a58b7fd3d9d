"""Folders of generated motions for scoring: one file per motion, written as soon as it is generated, and a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hmr4d.evaluation.text_to_motion_data import Job
from hmr4d.export.motion_npz import load_motion_npz, save_motion_npz
from hmr4d.motion.motion import Motion
from hmr4d.utils.files import write_json

FORMAT, VERSION = "hmr4d-generations", 1
MANIFEST_NAME = "generations.json"


class GenerationFolder:
    """Motions of a test, one motion file each: `repeat_00/00012_s000.npz`.

    Args:
        folder: path; created when the first motion is saved.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def identity(self) -> dict[str, Any] | None:
        """Provenance of the motions; None for a new folder. Raises ValueError if the manifest is damaged."""
        path = self.folder / MANIFEST_NAME
        if not path.is_file():
            return None
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            if (manifest["format"], manifest["version"]) != (FORMAT, VERSION):
                raise ValueError(f"it is {manifest['format']!r} version {manifest['version']!r}")
            return dict(manifest["identity"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is no manifest of generated motions ({error}); expected {FORMAT} version "
                f"{VERSION}. Generate the motions again in another folder."
            ) from error

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Records the provenance of the motions.

        Raises:
            FileExistsError: the folder contains motions of another provenance; the message lists the differences.
        """
        known = self.identity if any(self.folder.glob("repeat_*/*.npz")) else None
        plain = json.loads(json.dumps(identity))
        if known is not None and (differences := differing(known, plain)):
            raise FileExistsError(
                f"{self.folder} contains motions of another test ({'; '.join(differences)}). Choose another folder "
                "with output_dir=, or replace the motions with overwrite=true."
            )
        write_json(self.folder / MANIFEST_NAME, {"format": FORMAT, "version": VERSION, "identity": plain})

    def path(self, job: Job) -> Path:
        """Path of the motion file of a job."""
        return self.folder / f"repeat_{job.repeat:02d}" / f"{job.item:05d}_s{job.sample:03d}.npz"

    def has(self, job: Job) -> bool:
        """Whether the motion file of a job exists."""
        return self.path(job).is_file()

    def save(self, job: Job, motion: Motion) -> None:
        """Writes the motion of a job. Raises ValueError if a coordinate is not finite."""
        save_motion_npz(self.path(job), motion)

    def load(self, job: Job) -> Motion:
        """Reads the motion of a job. Raises FileNotFoundError if it was not generated."""
        return load_motion_npz(self.path(job))


def differing(known: Mapping[str, Any], wanted: Mapping[str, Any], place: str = "") -> list[str]:
    """ "<place> is <known>, not <wanted>" for every value that differs between two JSON objects."""
    differences: list[str] = []
    for key in dict.fromkeys([*known, *wanted]):
        ours, theirs = known.get(key), wanted.get(key)
        here = f"{place}.{key}" if place else str(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            differences += differing(ours, theirs, here)
        elif ours != theirs:
            differences.append(f"{here} is {_short(ours)}, not {_short(theirs)}")
    return differences


def _short(value: Any) -> str:
    shown = "unknown" if value is None else str(value)
    return shown if len(shown) <= 60 else shown[:12] + "..."

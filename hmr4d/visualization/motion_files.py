"""Writes a motion in all export formats, and the contact sheet of several motions."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hmr4d.export.amass_npz import save_amass_npz
from hmr4d.export.bvh import write_bvh
from hmr4d.export.glb import write_glb
from hmr4d.export.joints_csv import write_csv
from hmr4d.export.motion_npz import save_motion_npz
from hmr4d.motion.motion import Motion
from hmr4d.utils.files import LONGEST_STEM
from hmr4d.visualization.contact_sheet import write_contact_sheet
from hmr4d.visualization.html_viewer import write_html
from hmr4d.visualization.mesh_video import write_mesh_video
from hmr4d.visualization.stick_video import write_stick_video

MAX_SLUG = 48
MAX_SHEET_ROWS = 24
WEBP_SIZE = (320, 320)  # pixels; three fit side by side on a web page


def _mesh(path: Path, motion: Motion) -> None:
    write_mesh_video(path, [motion])


def _webp(path: Path, motion: Motion) -> None:
    write_mesh_video(path, [motion], size=WEBP_SIZE)


def _html(path: Path, motion: Motion) -> None:
    write_html(path, [motion], title=motion.text)


# Format -> writer (path, motion); keyword arguments are options of the format.
EXPORTS: dict[str, Callable[..., Any]] = {
    "npz": save_motion_npz,
    "mp4": write_stick_video,
    "mesh": _mesh,
    "webp": _webp,
    "html": _html,
    "bvh": write_bvh,
    "glb": write_glb,
    "csv": write_csv,
    "amass": save_amass_npz,
}
_ENDINGS = {  # suffixes that differ from the name of the format
    "bvh": (".bvh", ".bvh.json"),
    "amass": (".amass.npz",),
    "mesh": ("_mesh.mp4",),
}


def export_paths(folder: Path, stem: str, name: str) -> list[Path]:
    """Files of a format for a motion: the main file, then the additional ones."""
    return [folder / f"{stem}{ending}" for ending in _ENDINGS.get(name, (f".{name}",))]


def write_motion_files(
    motion: Motion,
    folder: Path,
    stem: str,
    formats: Sequence[str],
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Path]:
    """Writes a motion in several formats. All commands and callbacks that save motions use this function.

    Args:
        motion: motion to write.
        folder: folder; created if necessary.
        stem: file name without suffix.
        formats: keys of EXPORTS.
        options: format -> keyword arguments of its writer.

    Returns:
        The paths written, see `export_paths`.

    Raises:
        ValueError: a format does not support the motion or an option.
        OSError: a file cannot be written.
    """
    written: list[Path] = []
    for name in formats:
        paths = export_paths(folder, stem, name)
        EXPORTS[name](paths[0], motion, **(options or {}).get(name, {}))
        written += paths
    return written


_ELSEWHERE = {
    "fbx": "Blender writes FBX from glb or bvh (docs/blender.md).",
    "hml263": "Convert the motion to 263 features with: hmr4d reference run MOTION --out DIR, then hmr4d reference "
    "export "
    "DIR/NAME_276.pt --to hml263.",
}


def check_exports(export: Sequence[str] | str) -> list[str]:
    """Format names from a list or a comma-separated string. Raises ValueError if one is unknown."""
    names = export.split(",") if isinstance(export, str) else list(export)
    names = [n.strip().lower() for n in names if n.strip()]
    unknown = [n for n in names if n not in EXPORTS]
    if unknown or not names:
        hint = "".join(f" {_ELSEWHERE[name]}" for name in unknown if name in _ELSEWHERE)
        raise ValueError(f"Unknown export {unknown or 'list, it is empty'}; known: {sorted(EXPORTS)}.{hint}")
    return list(dict.fromkeys(names))


def slug(text: str) -> str:
    """A prompt as part of a file name: letters and digits of any script and single underscores.

    Longer names are cut to MAX_SLUG characters and end with a hash of the whole prompt.
    """
    words = re.sub(r"[\W_]+", "_", unicodedata.normalize("NFC", text.lower())).strip("_") or "motion"
    if len(words) <= MAX_SLUG and len(words.encode("utf-8")) <= LONGEST_STEM:
        return words
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()[:6]
    kept = words[: MAX_SLUG - len(digest) - 1].encode("utf-8")[: LONGEST_STEM - len(digest) - 1]
    return f"{kept.decode('utf-8', 'ignore').rstrip('_')}_{digest}"


class MotionWriter:
    """Writes motions to `out_dir`. File names start with the number of the prompt and sort in prompt order.

    Args:
        out_dir: folder; created when the first motion is written.
        export: format names, see EXPORTS.
        about: JSON object saved with every motion, such as the command; model and license come from the motions.
        num_prompts, num_samples: totals, which determine the number of digits in the names.
    """

    def __init__(
        self,
        out_dir: str | Path,
        export: Sequence[str] | str = ("npz", "mp4", "html"),
        *,
        about: dict[str, Any] | None = None,
        num_prompts: int = 1,
        num_samples: int = 1,
    ) -> None:
        self.out_dir, self.export, self.about = Path(out_dir), check_exports(export), about or {}
        self.num_prompts, self.num_samples = num_prompts, num_samples
        self.written: list[Path] = []
        self._sheet: dict[tuple[int, int], Motion] = {}

    def stem(self, prompt: int, sample: int, text: str) -> str:
        """File name without suffix: 003_a_person_walks, or 003_s1_a_person_walks for one of several samples."""
        number = str(prompt).zfill(max(3, len(str(self.num_prompts - 1))))
        return f"{number}_s{sample}_{slug(text)}" if self.num_samples > 1 else f"{number}_{slug(text)}"

    def write(
        self, motions: Iterable[Motion], jobs: Sequence[tuple[int, int]], about: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Writes several motions, for example a batch.

        Args:
            motions: motions to write.
            jobs: (prompt number, sample number) of each motion.
            about: additional metadata of each motion, such as its seed.
        """
        for row, (given, (prompt, sample)) in enumerate(zip(motions, jobs, strict=True)):
            details = {**self.about, **(about[row] if about else {})}
            motion = replace(given, provenance=given.provenance.updated(**details))
            self.written += write_motion_files(
                motion, self.out_dir, self.stem(prompt, sample, motion.text), self.export
            )
            self._sheet[prompt, sample] = replace(motion, views=None)
            if len(self._sheet) > MAX_SHEET_ROWS:
                del self._sheet[max(self._sheet)]

    def finish(self) -> list[Path]:
        """Writes a contact sheet and, for the format html, a page of the first motions. Returns all written paths,
        sorted."""
        motions = [self._sheet[job] for job in sorted(self._sheet)]
        if motions:
            self.written.append(self.out_dir / "contact_sheet.png")
            write_contact_sheet(self.written[-1], motions)
        if "html" in self.export and len(motions) > 1:
            self.written.append(self.out_dir / "index.html")
            write_html(self.written[-1], motions, title=f"{len(motions)} motions")
        return sorted(self.written)

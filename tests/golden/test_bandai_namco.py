"""Real motion capture against joints computed independently; rules and tolerances in the README beside the vectors."""

import itertools
import tarfile
from pathlib import Path

import numpy as np
import pytest

from hmr4d.data.importers.bandai_namco import iterate_bvh
from hmr4d.data.importers.conversion import Conversion
from hmr4d.motion_files.bvh import read_bvh
from hmr4d.motion_files.joint_maps import BANDAI_NAMCO
from tests.golden import vectors
from tests.golden.vectors import data_places, golden_file

MEAN_TOLERANCE = 1e-5  # metres
WORST_TOLERANCE = 1e-4  # metres


def bvh_sources(folder: Path, names: set[str]) -> dict[str, bytes]:
    """Content of the wanted BVH files: beside the vectors, else in the data folders and the tar archives in them."""
    found: dict[str, bytes] = {}
    for place in filter(Path.is_dir, data_places(folder)):
        archives = [p for p in sorted(place.glob("*.tar*")) if p.is_file() and tarfile.is_tarfile(p)]
        for source in itertools.chain.from_iterable(map(iterate_bvh, (place, *archives))):
            if source.name in names:
                found.setdefault(source.name, source.content)
            if names <= found.keys():
                return found
    return found


def test_importer_reproduces_the_expected_joints():
    folder = golden_file("bandai_namco")
    files = sorted(folder.glob("*.npz"))
    expected = {name: joints for file in files for name, joints in np.load(file, allow_pickle=False).items()}
    sources = bvh_sources(folder, set(expected))
    missing = expected.keys() - sources.keys()
    if len(missing) == len(expected):
        pytest.skip(f"the BVH files of {folder} are in none of {', '.join(map(str, data_places(folder)))}")
    assert not missing, f"no BVH file for {sorted(missing)}"
    convert = Conversion(BANDAI_NAMCO)
    for name, joints in expected.items():
        result = convert(read_bvh(sources[name], name=name))
        assert result.shape == joints.shape, name
        error = np.linalg.norm(result - joints, axis=-1)
        assert error.mean() < MEAN_TOLERANCE, (name, error.mean())
        assert error.max() < WORST_TOLERANCE, (name, error.max())


def test_sources_of_another_golden_folder_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The default data folder is searched too; what is only called a tar is passed over."""
    data = tmp_path / "shared" / "data"
    data.mkdir(parents=True)
    (tmp_path / "clip.bvh").write_text("HIERARCHY")
    with tarfile.open(data / "clips.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "clip.bvh", "inside/clip.bvh")
    (data / "clips.tar.gz.sha256").write_text("0123")
    (data / "a.tar").mkdir()
    monkeypatch.setattr(vectors, "PLACES", (tmp_path / "shared" / "golden",))
    assert bvh_sources(tmp_path / "other" / "golden" / "bandai_namco", {"clip"}) == {"clip": b"HIERARCHY"}


def test_a_mistyped_golden_folder_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HMR4D_GOLDEN", str(tmp_path / "nowhere"))
    with pytest.raises(pytest.fail.Exception, match="nowhere, which is no folder"):
        golden_file("bandai_namco")

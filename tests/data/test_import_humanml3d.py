"""HumanML3D importer on tiny files of every layout."""

import pickle
import zipfile

import numpy as np
import pytest

from hmr4d.data.importers.humanml3d import import_humanml3d, read_texts
from hmr4d.data.store import MotionStore
from hmr4d.utils.safe_pickle import UnsafePickleError, load_arrays_pickle

LENGTHS = {"000001": 50, "000002": 30, "M000002": 30, "000003": 60}


def joints():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(length, 22, 3)).astype(np.float32) for name, length in LENGTHS.items()}


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "hml"
    (folder / "texts").mkdir(parents=True)
    (folder / "texts" / "000001.txt").write_text(
        "a man walks.#a/DET man/NOUN walk/VERB#0.0#0.0\nhe stops.#he/PRON#1.0#2.5\n"
    )
    (folder / "texts" / "000002.txt").write_text("kick with left leg.#kick/VERB#nan#nan\n\n")
    (folder / "texts" / "M000002.txt").write_text("kick with right leg.#kick/VERB#0.0#0.0\n")
    (folder / "train_val.txt").write_text("000003\n000001\nM000002\n000002\n")
    (folder / "train.txt").write_text("000001\nM000002\n000002\n")
    (folder / "test.txt").write_text("999999\n000003\n")
    return folder


def as_pth(folder):
    table = {f"{n}.npy": {"joints3d": v, "name": "a.npz"} for n, v in joints().items()}
    with zipfile.ZipFile(folder / "joints3d.pth", "w") as archive:
        archive.writestr("joints3d/data.pkl", pickle.dumps(table, protocol=2))
        archive.writestr("joints3d/version", "3\n")


def as_torch(folder):
    torch = pytest.importorskip("torch")
    torch.save({f"{n}.npy": {"joints3d": v, "name": "a.npz"} for n, v in joints().items()}, folder / "joints3d.pth")


def as_old_torch(folder):
    torch = pytest.importorskip("torch")
    table = {f"{n}.npy": {"joints3d": v, "name": "a.npz"} for n, v in joints().items()}
    torch.save(table, folder / "joints3d.pth", _use_new_zipfile_serialization=False)


def as_tensors(folder):
    torch = pytest.importorskip("torch")
    table = {f"{n}.npy": {"joints3d": torch.from_numpy(v), "name": "a.npz"} for n, v in joints().items()}
    torch.save(table, folder / "joints3d.pth")


def as_npz(folder):
    np.savez(folder / "joints3d.npz", **{f"{n}.npy": v for n, v in joints().items()})


def as_new_joints(folder):
    (folder / "new_joints").mkdir()
    for name, value in joints().items():
        np.save(folder / "new_joints" / f"{name}.npy", value)


@pytest.mark.parametrize("write", [as_pth, as_torch, as_old_torch, as_tensors, as_npz, as_new_joints])
def test_every_layout(root, tmp_path, write):
    write(root)
    import_humanml3d(root, tmp_path / "out")
    store = MotionStore.open(tmp_path / "out")
    assert sorted(store.names) == sorted(LENGTHS)
    for index, name in enumerate(store.names):
        np.testing.assert_array_equal(store.joints3d(index), joints()[name])


def test_splits_keep_the_order_of_their_lists(root, tmp_path):
    as_npz(root)
    import_humanml3d(root, tmp_path / "out")
    store = MotionStore.open(tmp_path / "out")
    names = lambda split: [store.names[i] for i in store.indices(split)]  # noqa: E731
    assert names("train_val") == ["000003", "000001", "M000002", "000002"]
    assert names("train") == ["000001", "M000002", "000002"]
    assert names("test") == ["000003"]


def test_captions(root, tmp_path):
    as_npz(root)
    import_humanml3d(root, tmp_path / "out")
    store = MotionStore.open(tmp_path / "out")
    rows = [(store.caption_texts[c.caption], c.start_s, c.end_s) for c in store.clip_captions(store.index_of["000001"])]
    assert rows == [("a man walks.", 0.0, 0.0), ("he stops.", 1.0, 2.5)]
    kick = store.caption_texts.index("kick with left leg.")
    assert store.caption_texts[store.caption_mirror[kick]] == "kick with right leg."
    assert store.clip_captions(store.index_of["000002"]) == [(kick, 0.0, 0.0)]
    assert store.clip_captions(store.index_of["000003"]) == []
    assert store.caption_tokens[kick] == ["kick/VERB"]


def test_not_finite_clips_are_skipped_and_counted(root, tmp_path, caplog):
    values = joints()
    values["000002"][3, 4, 1] = np.nan
    np.savez(root / "joints3d.npz", **values)
    summary = import_humanml3d(root, tmp_path / "out")
    assert dict(summary.dropped) == {"000002": "coordinates not finite"}
    assert "000002" in caplog.text


def test_wrong_skeleton_names_the_clip(root, tmp_path):
    np.savez(root / "joints3d.npz", **{"000001": np.zeros((5, 24, 3), np.float32)})
    with pytest.raises(ValueError, match=r"joints3d\.npz, clip '000001': shape \(5, 24, 3\)"):
        import_humanml3d(root, tmp_path / "out")


def test_all_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"joints3d\.pth.*texts"):
        import_humanml3d(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("line", ["no fields", "fine.#fine/ADJ#inf#0.0", " #fine/ADJ#0.0#0.0"])
def test_malformed_text_line(tmp_path, line):
    path = tmp_path / "a.txt"
    path.write_text(f"fine.#fine/ADJ#0.0#0.0\n{line}\n")
    with pytest.raises(ValueError, match=f"a.txt, line 2: expected 'caption#tokens#start#end', got '{line}'"):
        read_texts(path)


class _Attack:
    def __reduce__(self):
        import os

        return os.mkdir, ("/nonexistent/attack",)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_hostile_pickles_are_refused(tmp_path, protocol):
    path = tmp_path / "joints3d.pth"
    path.write_bytes(pickle.dumps({"a": _Attack()}, protocol=protocol))
    with pytest.raises(UnsafePickleError, match=r"joints3d\.pth cannot be read safely: it contains \w+\.mkdir"):
        load_arrays_pickle(path)


def test_hostile_files_of_tensors_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "joints3d.pth"
    torch.save({"a": torch.zeros(3), "b": _Attack()}, path)
    with pytest.raises(
        UnsafePickleError, match=r"joints3d\.pth is damaged, or contains more than tensors and builtins"
    ):
        load_arrays_pickle(path)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_arrays_and_builtins_pass(tmp_path, protocol):
    path = tmp_path / "a.pkl"
    value = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "s": np.float64(2.5), "t": ("a", b"b", None, {1, 2})}
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    loaded = load_arrays_pickle(path)
    np.testing.assert_array_equal(loaded["x"], value["x"])
    assert (loaded["s"], loaded["t"]) == (2.5, value["t"])


def test_damaged_pickles(tmp_path):
    path = tmp_path / "a.pth"
    whole = pickle.dumps({"x": np.zeros(100)})
    for content in (b"", b"hello", whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(UnsafePickleError, match=r"a\.pth is damaged or no pickle"):
            load_arrays_pickle(path)


def bad_npy(path, kind):
    """Joints of a clip that are none."""
    if kind == "one frame":
        np.save(path, np.zeros((22, 3), np.float32))
    elif kind == "words":
        np.save(path, np.full((4, 22, 3), "x"))
    else:
        path.write_bytes(b"\x93NUMPY\x01\x00" + kind.encode())


@pytest.mark.parametrize("kind", ["one frame", "words", "cut", "café"])
def test_one_bad_clip_stops_or_is_skipped_and_named(root, tmp_path, caplog, kind):
    (root / "new_joints").mkdir()
    for name, array in joints().items():
        np.save(root / "new_joints" / f"{name}.npy", array)
    bad = root / "texts" / "000001.txt" if kind == "café" else root / "new_joints" / "000001.npy"
    bad.write_bytes("a man in a café".encode("latin-1")) if kind == "café" else bad_npy(bad, kind)
    (root / "new_joints" / "._000001.npy").write_bytes(b"\x00\x05")
    (root / "._train.txt").write_bytes(b"\x00\x05\xff")
    with pytest.raises(ValueError, match=bad.name.replace(".", r"\.")):
        import_humanml3d(root, tmp_path / "out")
    summary = import_humanml3d(root, tmp_path / "out", skip_bad=True)
    assert (summary.num_clips, dict(summary.dropped)) == (3, {"000001": "unreadable file"})
    assert f"{bad}" in caplog.text and "Skipped." in caplog.text

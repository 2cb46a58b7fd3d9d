"""Random damage to files, and what readers may make of it: a result, or one clear sentence, within two seconds.

`python -m tests.data.fuzzing 20000` runs every reader on so many damaged inputs and prints figures.
"""

from __future__ import annotations

import io
import logging
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hmr4d.data.importers.bvh_folder import load_joint_map
from hmr4d.data.importers.caption_tables import read_captions_file
from hmr4d.data.importers.conversion import BvhSource, Conversion, convert_batch
from hmr4d.data.importers.humanml3d import captions_of
from hmr4d.export.motion_npz import load_motion_npz, save_motion_npz
from hmr4d.motion_files.joint_maps import BANDAI_NAMCO
from hmr4d.utils.text_files import decode_text
from tests.motions import as_motion

LONGEST_SECONDS = 2.0
_WORDS = (
    b"nan", b"inf", b"-", b"1e999", b"-1e308", b"1_0", b"0,5", b"{", b"}", b"\xff\xfe", b"\xef\xbb\xbf", b"\x00",
    b'"', b"\n", b"\r", b"\t", b",", b";", b"#", b"//", b"99999999999999999999", "²".encode(), "走".encode(),
    b"\x83\x7b", b"JOINT A", b"CHANNELS 6", b"End Site", b"MOTION", b"Frames: 9", b"Frame Time: 0", b"0", b"[", b"]",
    b":", b"&a", b"*a", b"<<: *a", b"!!python/object:os.system", b"\\", b"\xed\xa0\x80",
)  # fmt: skip


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The content after one to four random changes: cuts, swaps, doubled or lost parts, other bytes and words."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        b = min(b, a + rng.choice((1, 4, 40, 4000)))
        kind = rng.randrange(8)
        if kind == 0:
            del data[a:b]
        elif kind == 1:
            data[a:a] = data[a:b]
        elif kind == 2:
            data[a:b] = rng.choice(_WORDS)
        elif kind == 3:
            data[a:a] = rng.choice(_WORDS)
        elif kind == 4 and a < len(data):
            data[a] = rng.randrange(256)
        elif kind == 5:
            del data[a:]
        elif kind == 6:
            lines = bytes(data).split(b"\n")
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[i], lines[j] = lines[j], lines[i]
            data = bytearray(b"\n".join(lines))
        else:
            words = bytes(data).split(b" ")
            words[rng.randrange(len(words))] = rng.choice(_WORDS)
            data = bytearray(b" ".join(words))
    return bytes(data)


def read_bvh_bytes(content: bytes, folder: Path) -> None:
    """Reads and converts, as `prepare bvh` does; errors come out as they would from a worker."""
    (result,) = convert_batch([BvhSource("clip", "clip.bvh", content)], Conversion(BANDAI_NAMCO))
    if isinstance(result.joints, Exception):
        raise result.joints
    if not np.isfinite(result.joints).all():
        raise AssertionError("joints that are not finite")


def _from_file(read: Callable[[Path], object], name: str) -> Callable[[bytes, Path], None]:
    def read_bytes(content: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(content)
        read(path)

    return read_bytes


def npz_bytes() -> bytes:
    """A small motion file."""
    stream = Path(tempfile.mkstemp(suffix=".npz")[1])
    try:
        save_motion_npz(stream, as_motion(np.zeros((3, 22, 3), np.float32), fps=20, text="stands"))
        return stream.read_bytes()
    finally:
        stream.unlink()


def plain_npz_bytes() -> bytes:
    """The same, not packed, so that damage reaches the arrays."""
    stream = io.BytesIO()
    with np.load(io.BytesIO(npz_bytes())) as archive:
        np.savez(stream, **{key: archive[key] for key in archive.files})
    return stream.getvalue()


CSV = 'file,caption\none.bvh,"walks, then ""turns"" left"\ndeep/two,runs\nтри,走る\n'.encode()
JSON = '{"one.bvh": ["walks", "runs"], "deep/two": "turns left", "три": "走る"}'.encode()
MAP = "\n".join(
    f"{k}: {v}" if isinstance(v, str) else f"{k}: {{from: {v.start}, to: {v.end}, at: {v.fraction}}}"
    for k, v in BANDAI_NAMCO.rules.items()
).encode()
TEXT = b"a man walks.#a/DET man/NOUN walk/VERB#0.0#0.0\nhe stops.#he/PRON#1.0#2.5\n"

FILES = ("clip.bvh", "c.csv", "c.tsv", "c.json", "map.yaml", "t.txt", "m.npz")  # one of them is in every message
Reader = Callable[[bytes, Path], object]


def readers(bvh: bytes) -> dict[str, tuple[Reader, list[bytes]]]:
    """Reader and whole files of it, by name."""
    return {
        "bvh": (read_bvh_bytes, [bvh, bvh.replace(b"\n", b"\r\n"), bvh.decode().encode("utf-16")]),
        "captions csv": (_from_file(read_captions_file, "c.csv"), [CSV, CSV.decode().encode("utf-16")]),
        "captions tsv": (_from_file(read_captions_file, "c.tsv"), [CSV.replace(b",", b"\t")]),
        "captions json": (_from_file(read_captions_file, "c.json"), [JSON]),
        "joint map": (_from_file(lambda path: load_joint_map(str(path)), "map.yaml"), [MAP]),
        "texts": (lambda content, _: captions_of(decode_text(content, "t.txt"), "t.txt"), [TEXT]),
        "motion npz": (_from_file(load_motion_npz, "m.npz"), [npz_bytes(), plain_npz_bytes()]),
    }


def run(name: str, read: Reader, files: Sequence[bytes], count: int, folder: Path, seed: int = 0) -> Counter[str]:
    """Reads damaged files; how many were read and refused.

    Raises:
        AssertionError: a reader crashed, took too long, or gave no clear sentence; the input is kept in `folder`.
    """
    rng, outcome = random.Random(f"{seed} {name}"), Counter[str]()
    for number in range(count):
        content = mutated(rng.choice(files), rng)
        begun = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                read(content, folder)
            outcome["read"] += 1
        except ValueError as error:
            outcome["refused"] += 1
            fault = None
            if type(error).__name__ not in ("ValueError", "BvhError", "TextError") or "\n" in str(error):
                fault = f"{type(error).__name__}: {error}"
            elif not any(file in str(error) for file in FILES):
                fault = f"no file is named: {error}"
        except Exception:
            fault = traceback.format_exc()
        else:
            fault = None
        seconds = time.perf_counter() - begun
        outcome["slowest ms"] = max(outcome["slowest ms"], round(1000 * seconds))
        if seconds > LONGEST_SECONDS:
            fault = f"took {seconds:.1f} s"
        if fault:
            kept = folder / f"fault_{name.replace(' ', '_')}_{number}"
            kept.write_bytes(content)
            raise AssertionError(f"{name}, input {number}, kept as {kept}: {fault}")
    return outcome


def main() -> None:
    """Runs all readers, or those named, on a number of inputs each."""
    from tests.data.bandai_files import bandai_bvh_file

    logging.disable(logging.CRITICAL)
    chosen = sys.argv[2:]
    for name, (read, files) in readers(bandai_bvh_file(3)).items():
        if chosen and name not in chosen:
            continue
        folder = Path(tempfile.mkdtemp())
        begun = time.perf_counter()
        outcome = run(name, read, files, int(sys.argv[1]), folder)
        sys.stdout.write(f"{name}: {dict(outcome)}, {time.perf_counter() - begun:.0f} s\n")


if __name__ == "__main__":
    main()

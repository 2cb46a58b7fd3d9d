"""What must be true of whatever a reader makes of a file: a sound result, or one clear sentence of ours, soon."""

from __future__ import annotations

import logging
import os
import resource
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import numpy as np

from hmr4d.camera.camera_files import CameraFile, read_camera
from hmr4d.camera.measurement_files import read_measurements
from hmr4d.data.importers.bvh_folder import load_joint_map
from hmr4d.data.importers.caption_tables import read_captions_file
from hmr4d.data.importers.cmu import convert
from hmr4d.data.importers.cmu_files import INDEX, CmuFile, read_index, read_joints
from hmr4d.data.importers.conversion import BvhSource, Conversion, convert_batch
from hmr4d.data.importers.humanml3d import read_texts
from hmr4d.keypoint_files.reading import KeypointTrack, read_keypoints
from hmr4d.motion_files.joint_maps import BANDAI_NAMCO
from hmr4d.reference_motion.adapters import read_clip
from hmr4d.reference_motion.motion_sources import read_plausible
from tests.fuzz import seeds

SLOWEST = 2.0  # seconds of the processor
HANGS = 10.0  # seconds of the processor after which a reader is stopped
REPEATS = 2  # a busy machine takes processor time from a process: what is slow is read again, and the fastest counts
MOST_MEMORY = 200  # megabytes that reading small files may add to the most that the process has held
MEMORY_EVERY = 50  # inputs between two looks at the memory, which cost more than most inputs
LONGEST = 1500  # characters of a message
FARTHEST, MOST_PIXELS = 1e4, 1e6  # meters and pixels of results that come without a warning
_TRIES = 40  # faults of one reader whose input is told


class Unsound(AssertionError):
    """A result that no reader should give."""


def demand(is_so: bool, what: str) -> None:
    """Unsound unless it is so."""
    if not is_so:
        raise Unsound(what)


@dataclass(frozen=True)
class Reader:
    """A reader with its damaged files.

    Attributes:
        make: writes a damaged file and gives its path.
        read: reads it; an error, or Unsound for a result that is none.
    """

    make: seeds.Maker
    read: Callable[[Path, Callable[[], bool]], None]


def _bvh(path: Path, warned: Callable[[], bool]) -> None:
    """Reads and converts, as `prepare bvh` does; errors come out as they would from a worker."""
    (result,) = convert_batch([BvhSource("clip", path.name, path.read_bytes())], Conversion(BANDAI_NAMCO))
    if isinstance(result.joints, Exception):
        raise result.joints
    joints = result.joints
    demand(joints.ndim == 3 and joints.shape[1:] == (22, 3) and len(joints) > 0, f"joints of shape {joints.shape}")
    demand(bool(np.isfinite(joints).all()), "joints that are not finite")
    demand(bool(result.remarks) or float(np.abs(joints).max()) < FARTHEST, "joints beyond all measure, not a word")


def _cmu(path: Path, warned: Callable[[], bool]) -> None:
    """An ASF/AMC pair or its BVH conversion, as `prepare cmu` reads it."""
    asf = path.with_name("02.asf")
    skeleton = (asf.name, asf.read_bytes()) if path.suffix == ".amc" else None
    file = CmuFile("02_01", path.name, path.read_bytes(), skeleton)
    joints, fps = read_joints(file)
    demand(joints.ndim == 3 and joints.shape[1:] == (22, 3) and len(joints) > 0, f"joints of shape {joints.shape}")
    demand(bool(np.isfinite(joints).all()), "joints that are not finite")
    demand(0 < fps < np.inf, f"{fps} frames per second")
    converted = convert(file, 20.0)  # checks the size of the body and jumps
    if converted.joints is not None:
        demand(bool(np.isfinite(converted.joints).all()), "joints of the store that are not finite")
        demand(float(np.abs(converted.joints).max()) < FARTHEST, "joints beyond all measure, not a word")


def _keypoints(path: Path, warned: Callable[[], bool]) -> None:
    tracks = read_keypoints(path, person="all", size=(1280, 720))
    for track in tracks if isinstance(tracks, list) else [tracks]:
        _check_track(track)


def _check_track(track: KeypointTrack) -> None:
    L, J = len(track.frame_ids), track.skeleton.num_joints
    demand(track.kp2d.shape == (L, J, 2) and track.kp2d_conf.shape == (L, J), "shapes that do not belong together")
    demand(bool(np.isfinite(track.kp2d).all()), "joints that are not finite")
    demand(float(np.abs(track.kp2d).max()) <= MOST_PIXELS, "joints beyond all images")
    demand(bool(((track.kp2d_conf >= 0) & (track.kp2d_conf <= 1)).all()), "confidences outside 0 to 1")
    demand(not track.kp2d[track.kp2d_conf == 0].any() and track.num_seen > 0, "missing joints that have a place")
    demand(bool((np.diff(track.frame_ids) == 1).all()) and int(track.frame_ids[0]) >= 0, "frames that leave some out")
    demand(track.fps is None or 0 < track.fps <= 1e4, f"{track.fps} frames per second")
    if track.times is not None:
        demand(len(track.times) == L and bool((np.diff(track.times) >= 0).all()), "times that run backward")
        demand(bool(np.isfinite(track.times).all()), "times that are not finite")


def _camera(path: Path, warned: Callable[[], bool]) -> None:
    _check_camera(read_camera(path))


def _measurements(path: Path, warned: Callable[[], bool]) -> None:
    camera, fit, _ = read_measurements(path)
    _check_camera(camera)
    demand(bool(np.isfinite([fit.pitch, fit.roll, fit.height]).all()), "a pose that is not finite")


def _check_camera(camera: CameraFile) -> None:
    for values in (camera.K4, camera.T_w2c, camera.distortion):
        demand(bool(values.isfinite().all()), "numbers that are not finite")
    R = camera.T_w2c[:3, :3]
    demand(float((R @ R.T - R.new_tensor(np.eye(3))).abs().max()) < 1e-6, "axes that are not at right angles")
    demand(bool((camera.K4[:2] > 0).all()) and min(camera.size) > 0, "a lens that sees nothing")
    demand(0 < camera.height <= 100, f"a height of {camera.height} meters")


def _captions(path: Path, warned: Callable[[], bool]) -> None:
    if path.name == INDEX:
        for clip, row in read_index(path.read_bytes(), path.name).items():
            demand(clip.strip() != "", "a clip without a name")
            demand(row.fps is None or 0 < row.fps < np.inf, f"{row.fps} frames per second")
        return
    if path.suffix == ".txt":
        for caption in read_texts(path):
            demand(caption.text.strip() != "", "an empty caption")
            demand(bool(np.isfinite([caption.start_s, caption.end_s]).all()), "times that are not finite")
        return
    for name, texts in read_captions_file(path).captions.items():
        demand(name.strip() != "" and all(text.strip() for text in texts), "an empty name or caption")


def _joint_map(path: Path, warned: Callable[[], bool]) -> None:
    joint_map = load_joint_map(str(path))
    demand(len(joint_map.rules) == 22, f"{len(joint_map.rules)} joints")


def _motion(path: Path, warned: Callable[[], bool]) -> None:
    """Reads what `export` writes on, and the same with its camera, as `reference` does."""
    motion = read_plausible(path)
    L, J = motion.num_frames, motion.skeleton.num_joints
    demand(motion.array().shape == (L, J, 3) and L > 0, "shapes that do not belong together")
    demand(0 < motion.fps < np.inf, f"{motion.fps} frames per second")
    if motion.uncertainty is not None:
        demand(tuple(motion.uncertainty.shape) == (L, J), "uncertainties of another shape")
    demand(warned() or float(np.abs(motion.array()).max()) < FARTHEST, "joints beyond all measure, not a word")
    clip = read_clip(path)
    if clip.camera is not None:
        demand(tuple(clip.camera.T_w2c.shape) == (L, 4, 4), "a camera of other frames")
        demand(bool(clip.camera.T_w2c.isfinite().all()), "a camera that is nowhere")


READERS: dict[str, Reader] = {
    "bvh": Reader(seeds.bvh, _bvh),
    "asf_amc": Reader(seeds.cmu, _cmu),
    "keypoint_json": Reader(seeds.keypoint_json, _keypoints),
    "keypoint_folder": Reader(seeds.keypoint_folder, _keypoints),
    "keypoint_npz": Reader(seeds.keypoint_arrays, _keypoints),
    "keypoint_csv": Reader(seeds.keypoint_table, _keypoints),
    "camera": Reader(seeds.camera, _camera),
    "measurements": Reader(seeds.measurements, _measurements),
    "motion_npz": Reader(seeds.motion_npz, _motion),
    "captions": Reader(seeds.captions, _captions),
    "joint_map": Reader(seeds.joint_map, _joint_map),
}


@dataclass
class Outcome:
    """What became of damaged files.

    Attributes:
        read, refused, warned: how many gave a result, one sentence, and a result with a warning.
        faults: what went wrong -> how often, and in which input first.
        slowest: seconds of the processor.
        slow_once: inputs that were slow, but not when they were read again.
        memory: megabytes that the process held at most.
    """

    read: int = 0
    refused: int = 0
    warned: int = 0
    faults: dict[str, list[int]] = field(default_factory=dict)
    slowest: float = 0.0
    slow_once: int = 0
    memory: float = 0.0

    @property
    def num_faults(self) -> int:
        return sum(count for count, _ in self.faults.values())

    def fault(self, what: str, number: int) -> None:
        """Counts a fault of input `number`."""
        if what in self.faults or len(self.faults) < _TRIES:
            self.faults.setdefault(what, [0, number])[0] += 1
        else:
            self.faults.setdefault("others", [0, number])[0] += 1


def run(name: str, numbers: range, seed: int, folder: Path) -> Outcome:
    """Reads damaged files, each of its own number and the seed alone.

    Args:
        name: of a reader.
        numbers: which inputs.
        seed: of all.
        folder: where they are written, one over the other.
    """
    reader, outcome = READERS[name], Outcome()
    with _watched() as said, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # NumPy leaves damaged archives open
        before = _memory()
        for number in numbers:
            tries = [_tried(reader, folder, f"{seed} {number}", said)]
            while tries[-1].seconds > SLOWEST and len(tries) <= REPEATS:
                tries.append(_tried(reader, folder, f"{seed} {number}", said))
            best = min(tries, key=lambda one: one.seconds)
            outcome.slow_once += len(tries) > 1 and best.seconds <= SLOWEST
            if best.fault:
                outcome.fault(best.fault, number)
            elif best.is_read:
                outcome.read += 1
                outcome.warned += bool(said)
            else:
                outcome.refused += 1
            if best.seconds > SLOWEST:
                outcome.fault(f"takes {best.seconds:.0f} s", number)
            outcome.slowest = max(outcome.slowest, best.seconds)
            if (number + 1 - numbers.start) % MEMORY_EVERY == 0 or number == numbers[-1]:
                outcome.memory = _memory()
                if outcome.memory - before > MOST_MEMORY:
                    outcome.fault(f"takes {outcome.memory - before:.0f} MB, or one of {MEMORY_EVERY} before", number)
                before = outcome.memory
    return outcome


@dataclass(frozen=True)
class _Try:
    """One reading: whether there was a result, what is wrong with it or with the refusal, seconds of the processor."""

    is_read: bool
    fault: str | None
    seconds: float


def _tried(reader: Reader, folder: Path, draw: str, said: list[str]) -> _Try:
    path = reader.make(folder, Random(draw))
    said.clear()
    is_read, fault, start = False, None, time.process_time()
    signal.setitimer(signal.ITIMER_PROF, HANGS)
    try:
        reader.read(path, lambda: bool(said))
        is_read = True
    except Unsound as error:
        fault = str(error)
    except (ValueError, FileNotFoundError) as error:
        fault = unclear(error, path)
    except Exception:  # what the test is about
        fault = "".join(traceback.format_exc().splitlines(keepends=True)[-5:])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return _Try(is_read, fault, time.process_time() - start)


def unclear(error: Exception, path: Path) -> str | None:
    """Why an error is no clear sentence of ours: its class, its origin, or its words; None for one that is."""
    text = str(error)
    if type(error) not in (ValueError, FileNotFoundError) and not type(error).__module__.startswith("hmr4d."):
        return f"{type(error).__name__} {_short(text)}"
    if (origin := _foreign_origin(error)) is not None:
        return f"words of another library ({origin}): {_short(text)}"
    if not text.isprintable() or len(text) > LONGEST:
        return f"no sentence for a terminal: {_short(text)}"
    if not any(name in text for name in os.listdir(path.parent)):
        return f"names no file: {_short(text)}"
    return None


def _foreign_origin(error: BaseException) -> str | None:
    """Where an error comes from that another library wrote and ours handed on as it is; None for our own words."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:  # cheaper than traceback.extract_tb, which reads the sources
        last = last.tb_next
    if last is not None and "/hmr4d/" not in last.tb_frame.f_code.co_filename:
        return f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}"
    cause = error.__cause__
    if cause is None or not str(cause) or not str(error).endswith(str(cause)):
        return None
    before = str(error)[: -len(str(cause))].rstrip()
    return _foreign_origin(cause) if before.endswith(":") and before.count(" ") == 0 else None


def _short(text: str) -> str:
    return repr(text[:160])


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class _Listener(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@contextmanager
def _watched() -> Iterator[list[str]]:
    """What the package warns of is in the list; a timer ends what takes too long."""
    said: list[str] = []
    logger, listener = logging.getLogger("hmr4d"), _Listener(said)
    before = logger.propagate
    logger.addHandler(listener)
    logger.propagate = False

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"hangs for {HANGS:g} s")

    handler: Any = signal.signal(signal.SIGPROF, stop)
    try:
        yield said
    finally:
        signal.signal(signal.SIGPROF, handler)
        logger.removeHandler(listener)
        logger.propagate = before

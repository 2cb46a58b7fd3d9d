"""The stages of curation as pure functions from a record to records, and their dependencies.

detect (a source at 30 fps: people, camera), trim (bit masks, clips), render (red boxes), repose (a better detector on
the clips), describe (statistics, split), caption. `hmr4d.curation.shards` writes the results.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hmr4d.curation import filters
from hmr4d.curation.captioners import Captioner, Clip, FileCaptions, build_captioner, captions_of
from hmr4d.curation.clip_statistics import clip_measures
from hmr4d.curation.detectors import PoseEstimator, Reading, TrackDetector, build_detector
from hmr4d.curation.edge_measures import edge_measures
from hmr4d.curation.filters import FPS, Failure, Thresholds, Track, frame_failures, reject_reason
from hmr4d.curation.largest_person import People, at_standard_rate, largest_of_tracks
from hmr4d.curation.records import CLIP, SOURCE, Record, Rejected
from hmr4d.curation.red_box import render_red_box
from hmr4d.curation.sources import Source, fingerprint, open_sources
from hmr4d.curation.trimming import PIPELINE_VERSION, TrimRules, clip_failures, clip_id, seconds_of, trim
from hmr4d.curation.two_passes import in_two_passes
from hmr4d.curation.video_frames import gray, grid_of, nearest_pictures, probe
from hmr4d.data.importers.splits import split_by_name
from hmr4d.data.keypoint_clips import with_image_size
from hmr4d.motion.motion import checked_fps
from hmr4d.utils.text_files import printable

FRAMES_PER_CALL = 32  # frames per call of an image detector
TEST_SHARE, VAL_SHARE = 0.05, 0.05  # fractions of the sources
GOOD_SHARE = 0.9  # smallest fraction of confident frames of the second detector
UNREVIEWED = {"status": "unreviewed", "by": "", "note": ""}


@dataclass(frozen=True)
class Settings:
    """Settings of the stages, all JSON-serializable.

    Attributes:
        root: place of the sources, see `open_sources`.
        detector: see `build_detector`.
        repose: second detector for the frames of clips; None: no second detector.
        captioner: see `build_captioner`.
        render: write a video of every clip with the person in a red box, also if the captioner does not need it.
        thresholds: thresholds of the filters.
        trim: lengths of clips.
        fps, size, skeleton: values for keypoint files without them.
        two_passes: an image detector processes every second frame first, see `two_passes`.
    """

    root: str
    detector: str = "precomputed"
    repose: str | None = None
    captioner: str = "none"
    render: bool = False
    thresholds: Thresholds = field(default_factory=Thresholds)
    trim: TrimRules = field(default_factory=TrimRules)
    fps: float | None = None
    size: tuple[int, int] | None = None
    skeleton: str | None = None
    two_passes: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for an invalid rate or size."""
        if self.fps is not None:
            checked_fps(self.fps)
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"The size of the images is {self.size[0]} x {self.size[1]}; expected pixels.")

    @property
    def reading(self) -> Reading:
        return Reading(self.skeleton, self.size)


@dataclass(frozen=True)
class Stage:
    """A step of the pipeline.

    Attributes:
        name: name of the stage and its folder.
        version: version of its code; a new version repeats the work.
        settings: all settings that affect its result, as JSON.
        takes: type of the records that `run` processes; others pass unchanged.
        run: function from a record to records; raises `Rejected` to exclude a record.
    """

    name: str
    version: int
    settings: Mapping[str, Any]
    takes: str
    run: Callable[[Record], list[Record]]


def build_stages(settings: Settings, videos: Path) -> list[Stage]:
    """The stages of the settings, in order.

    Args:
        settings: settings.
        videos: folder for the videos of clips.

    Raises:
        ValueError, ImportError: a detector or captioner is unknown or not installed.
    """
    limits, captioner = settings.thresholds, build_captioner(settings.captioner)
    detector = build_detector(settings.detector)
    reading: dict[str, Any] = {"fps": settings.fps, "size": settings.size, "skeleton": settings.skeleton}
    if settings.two_passes:
        if isinstance(detector, TrackDetector):
            raise ValueError(
                f"The detector '{settings.detector}' reads whole videos, so --two-passes saves no time. Remove it, or "
                "use an image detector such as http://..."
            )
        reading["two_passes"] = {"limits": asdict(limits), "trim": asdict(settings.trim)}
    sources = {source.id: source for source in open_sources(settings.root).list()}
    if isinstance(captioner, FileCaptions):
        captioner.check_sources(sources)
    clips = ClipVideos(sources, videos)
    stages = [
        Stage(
            "detect",
            2,
            {"detector": settings.detector, "version": detector.version, **reading},
            SOURCE,
            lambda record: [detect(record, sources, detector, settings)],
        ),
        Stage(
            "trim",
            filters.VERSION,
            {"limits": asdict(limits), "trim": asdict(settings.trim), "id": PIPELINE_VERSION},
            SOURCE,
            lambda record: filter_and_trim(record, limits, settings.trim),
        ),
    ]
    if settings.render or captioner.needs_video:
        stages.append(Stage("render", 1, {}, CLIP, clips.render))
    if settings.repose is not None:
        second = build_detector(settings.repose)
        if isinstance(second, TrackDetector):
            raise ValueError(f"The detector '{settings.repose}' is not an image detector; use one such as http://...")
        stages.append(
            Stage(
                "repose",
                1,
                {"detector": settings.repose, "version": second.version, "limits": asdict(limits)},
                CLIP,
                lambda record: [repose(record, sources, second, limits)],
            )
        )
    stages.append(Stage("describe", 1, {"test": TEST_SHARE, "val": VAL_SHARE}, CLIP, lambda record: [describe(record)]))
    stages.append(
        Stage(
            "caption",
            1,
            {"captioner": _captioner_metadata(settings.captioner)},
            CLIP,
            lambda r: [caption(r, captioner, clips)],
        )
    )
    return stages


def _captioner_metadata(spec: str) -> dict[str, str]:
    """Specification of a captioner and a hash of its file."""
    name, _, argument = spec.partition(":")
    content = Path(argument).read_text("utf-8", "replace") if name == "file" else ""
    return {"name": spec, "content": content} if content else {"name": spec}


def detect(
    record: Record, sources: Mapping[str, Source], detector: PoseEstimator | TrackDetector, settings: Settings
) -> Record:
    """The largest person of every frame of a source at 30 fps, and the camera motion from its frames.

    Arrays: `kpts` (F, 17, 3), `boxes` (F, 4), and `camera` (F, 5) if there is a video.
    """
    source = sources[record.meta["source"]["id"]]
    video, times = probe(source.path) if source.is_video else (None, None)
    remarks: list[str] = []
    size = None if video is None else video.size
    if not isinstance(detector, TrackDetector):
        if times is None or size is None:
            raise Rejected("no_pictures", f"the detector '{detector.name}' needs a video; this is a keypoint file.")
        at = grid_of(times)
        look = functools.partial(_looked_at, detector, source.path, times)
        limits, rules = settings.thresholds, settings.trim
        people = in_two_passes(look, at, size, limits, rules) if settings.two_passes else look(at)
    else:
        with _heard(remarks):
            tracks = detector.tracks(source, replace(settings.reading, size=size or settings.size))
        if not tracks:
            raise Rejected(Failure.PERSON.reason, "no person was detected.")
        size = size or _image_size(tracks[0].image_sizes, settings.size)
        rate = tracks[0].fps or settings.fps
        if times is None and rate is None:
            raise Rejected("no_frame_rate", "the file has no frame rate. Give it with --fps.")
        people = at_standard_rate(largest_of_tracks(tracks, float(rate or 0) if times is None else times))
    arrays: dict[str, NDArray[Any]] = {"kpts": people.keypoints, "boxes": people.boxes}
    if times is not None:
        pictures = (gray(picture) for picture in nearest_pictures(source.path, times, people.times))
        arrays["camera"] = np.stack(list(edge_measures(pictures, people.boxes, size)))
        arrays = {name: array[: len(arrays["camera"])] for name, array in arrays.items()}
    meta = {
        "source": record.meta["source"],
        "fps": FPS,
        "width": size[0],
        "height": size[1],
        "start_s": round(float(people.times[0]), 6),
        "n_frames": len(arrays["kpts"]),
        "detector": detector.name,
        "detector_version": detector.version,
        "filters_not_run": [] if times is not None else ["camera_motion", "shot_cut"],
        "remarks": remarks,
    }
    return Record(record.key, meta, arrays, SOURCE)


def filter_and_trim(record: Record, limits: Thresholds, rules: TrimRules) -> list[Record]:
    """The clips of a source, and the source with the failed filters of each frame (`mask`).

    Raises:
        Rejected: no clip remains; the reason is the main filter, and the source with its `mask` is kept.
    """
    meta, size = record.meta, (record.meta["width"], record.meta["height"])
    track = Track(record.arrays["kpts"], record.arrays["boxes"], size, record.arrays.get("camera"))
    mask = frame_failures(track, limits)
    shared = {k: meta[k] for k in ("source", "fps", "width", "height", "detector", "detector_version")}
    filter_settings = {"thresholds": asdict(limits), "version": filters.VERSION, "not_run": meta["filters_not_run"]}
    clips: list[Record] = []
    failed = Failure(0)
    for first, last, clip in trim(track, mask, limits, rules):
        if failure := clip_failures(clip, limits):
            failed |= failure
            continue
        start, end = (meta["start_s"] + seconds_of(frame) for frame in (first, last))
        name = clip_id(meta["source"]["id"], start, end)
        about = {"clip_id": name, "start_s": round(start, 6), "end_s": round(end, 6), "n_frames": last - first}
        frames = with_image_size(clip.keypoints[..., :2], clip.keypoints[..., 2], size)
        arrays = {"kpts": frames, "bbox_xyxy": clip.boxes}
        clips.append(Record(name, {**shared, **about, "filters": filter_settings}, arrays))
    reason, counts = reject_reason(mask)
    summary = {
        "source": meta["source"],
        "n_frames": len(mask),
        "clips": len(clips),
        "frames_failing": counts,
        "remarks": meta["remarks"],
    }
    bits = Record(record.key, summary, {"mask": mask}, SOURCE)
    if not clips and failed:
        sentence = "the mean speed or acceleration of every clip is too high."
        raise Rejected((failed & -failed).reason, sentence, [bits])
    if not clips:
        raise Rejected(*_why_no_clip(reason, counts, len(mask), rules), [bits])
    return [bits, *clips]


def _why_no_clip(reason: Failure, counts: Mapping[str, int], num_frames: int, rules: TrimRules) -> tuple[str, str]:
    """Short reason and sentence for a source without clips."""
    if not counts:
        seconds = rules.min_frames / FPS
        return "too_short", f"it has {num_frames} frames at 30 fps; a clip needs {rules.min_frames} ({seconds:g} s)."
    failures = ", ".join(f"{name} in {count}" for name, count in sorted(counts.items(), key=lambda c: (-c[1], c[0])))
    return reason.reason, (
        f"no {rules.min_frames} good frames in a row among {num_frames}; frames that fail: {failures}. "
        f"The main reason is {reason.reason}."
    )


class ClipVideos:
    """Videos of clips with the person in a red box.

    Args:
        sources: id -> source.
        folder: folder of the videos.
    """

    def __init__(self, sources: Mapping[str, Source], folder: Path) -> None:
        self.sources, self.folder = sources, folder
        self._fingerprint = functools.cache(fingerprint)

    def path(self, record: Record) -> Path | None:
        """The video of a clip, with a name that depends on the boxes; None if its source has no frames."""
        source = self.sources[record.meta["source"]["id"]]
        if not source.is_video:
            return None
        made_of = hashlib.sha256(self._fingerprint(source.path).encode() + record.arrays["bbox_xyxy"].tobytes())
        return self.folder / f"{record.key}-{made_of.hexdigest()[:8]}.mp4"

    def render(self, record: Record) -> list[Record]:
        """Writes the video of a clip if it does not exist; returns the unchanged record."""
        path = self.path(record)
        if path is not None and not path.is_file():
            source = self.sources[record.meta["source"]["id"]].path
            render_red_box(source, probe(source)[1], record.meta["start_s"], record.arrays["bbox_xyxy"], path)
        return [record]


def repose(record: Record, sources: Mapping[str, Source], detector: PoseEstimator, limits: Thresholds) -> Record:
    """A clip with the keypoints of a second detector in the region of the person.

    Raises:
        Rejected: there is no video, or the detector is not confident in more than a tenth of the frames.
    """
    source, meta = sources[record.meta["source"]["id"]], record.meta
    if not source.is_video:
        raise Rejected("no_pictures", "the second detector needs a video; this is a keypoint file.")
    boxes = record.arrays["bbox_xyxy"]
    at = meta["start_s"] + np.arange(len(boxes)) / FPS
    pictures = nearest_pictures(source.path, probe(source.path)[1], at)
    people = _in_pictures(detector, pictures, at, boxes)
    sure = people.keypoints[..., 2] > limits.confidence
    good = filters.passing(sure, limits)
    if len(good) < len(boxes) or good.mean() < GOOD_SHARE:
        raise Rejected(
            Failure.CONFIDENCE.reason,
            f"the second detector is confident in {good.mean():.0%} of the frames; expected {GOOD_SHARE:.0%}.",
        )
    frames = with_image_size(people.keypoints[..., :2], people.keypoints[..., 2], (meta["width"], meta["height"]))
    metadata = {**meta, "detector": detector.name, "detector_version": detector.version}
    return Record(record.key, metadata, {**record.arrays, "kpts": frames})


def caption(record: Record, captioner: Captioner, clips: ClipVideos) -> Record:
    """A clip with its captions."""
    return record.with_meta(captions=captions_of(captioner, Clip(record, clips.path(record))))


def describe(record: Record) -> Record:
    """A clip with its statistics, and with the split of its source."""
    statistics = clip_measures(record.arrays["kpts"][:, :17], record.arrays["bbox_xyxy"])
    split = split_by_name(record.meta["source"]["id"], test=TEST_SHARE, val=VAL_SHARE)
    return record.with_meta(**statistics, split=split, review=UNREVIEWED)


def _image_size(recorded: Sequence[tuple[int, int]], given: tuple[int, int] | None) -> tuple[int, int]:
    if len(recorded) > 1:
        sizes = ", ".join(f"{w} x {h}" for w, h in recorded[:4])
        raise Rejected("image_size_changes", f"the image size changes: {sizes}. Split the video there.")
    size = next(iter(recorded), given)
    if size is None:
        raise Rejected("no_image_size", "the file has no image size. Give it with --size W H.")
    return size


def _looked_at(detector: PoseEstimator, video: Path, times: NDArray[np.float64], at: NDArray[np.float64]) -> People:
    """The largest person at times `at` (F,) of a video with frames at `times` (N,), seconds."""
    return _in_pictures(detector, nearest_pictures(video, times, at), at)


def _in_pictures(
    detector: PoseEstimator,
    pictures: Iterator[Image.Image],
    at: NDArray[np.float64],
    boxes: NDArray[np.floating] | None = None,
) -> People:
    """The largest person of each frame or, with `boxes` (F, 4), the person with the largest overlap."""
    keypoints, all_boxes = np.zeros((len(at), 17, 3), np.float32), np.zeros((len(at), 4), np.float32)
    place = 0
    while batch := [np.asarray(picture.convert("RGB")) for picture in itertools.islice(pictures, FRAMES_PER_CALL)]:
        wanted = None if boxes is None else boxes[place : place + len(batch)]
        for row, people in enumerate(detector.infer(np.stack(batch), wanted)):
            if people:
                near = None if wanted is None else wanted[row]
                person = people[int(np.argmax([_worth(np.asarray(p["bbox"]), near) for p in people]))]
                points = np.asarray(person["kpts"], np.float32)
                if points.shape != (17, 3) or not np.isfinite(points).all():
                    raise ValueError(
                        f"the detector returned keypoints of shape {points.shape}; expected finite (17, 3)."
                    )
                keypoints[place + row], all_boxes[place + row] = points, person["bbox"]
        place += len(batch)
    return People(keypoints[:place], all_boxes[:place], at[:place])


def _worth(box: NDArray[np.floating], wanted: NDArray[np.floating] | None) -> float:
    """Size of a box, or its overlap with the requested one."""
    if wanted is None:
        return float(np.prod(box[2:] - box[:2]))
    return float(filters.box_overlaps(np.stack([box, wanted]))[0])


@contextmanager
def _heard(remarks: list[str]) -> Generator[None, None, None]:
    """Collects the warnings about keypoint files in `remarks` instead of logging them."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            remarks.append(printable(record.getMessage()))

    source, listener = logging.getLogger("hmr4d.keypoint_files"), Listener(logging.WARNING)
    passed_on, level = source.propagate, source.level
    source.addHandler(listener)
    source.propagate = False
    source.setLevel(logging.WARNING)
    try:
        yield
    finally:
        source.removeHandler(listener)
        source.propagate = passed_on
        source.setLevel(level)

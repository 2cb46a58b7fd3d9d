"""Plausibility checks of lifted motion: wrong joint orders, mixed people and wrong cameras.

Every check measures one number and has a limit; almost all good results are below it. Limits were chosen on simulated
views of real motion; `benchmarks/lift_checks.py` measures the rate of false warnings and the detected mistakes
(docs/lift.md). A check that cannot be measured passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from hmr4d.body.skeleton import Skeleton
from hmr4d.geometry.rigs import Rig, project
from hmr4d.motion.motion import Motion
from hmr4d.utils.tensors import interpolate_gaps

BODY = 1.7  # meters; assumed size of people for measurements in the image
ENOUGH = 20  # frames that a check of distributions needs
LIMB_BONES = tuple(
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
)
SIDE_JOINTS = ("left_hip", "right_hip", "left_shoulder", "right_shoulder")
LONGEST_SEEN = 0.9  # quantile over frames of a bone's length in the picture, which shortens it more or less
NEAR_AND_FAR = 1.3  # ratio of the distances between which a change of stature can be seen
USUAL = (1.5, 1.76)  # meters; more than LIMITS below or above is doubted, children of 1.25 m are not
UPRIGHT = 0.8  # quantile over frames of the stature: people stoop
SLOWEST = 15.0  # frames per second; at lower rates people change their shape from frame to frame
FOOT_SMOOTHING = 0.1  # seconds, standard deviation, along which feet are followed
SLIDING = 0.4  # quantile over frames of how fast feet and body move as one
WALKING, PACE_SMOOTHING = 0.5, 0.2  # meters per second; seconds, standard deviation, along which the path is followed
IN_DEPTH = 0.25  # cosine to the viewing direction, at least, of a direction towards the camera or away from it
MARGIN = 0.02  # of the picture's sides; detectors set joints a little outside
# Largest good values, see the module docstring.
LIMITS: Mapping[str, float] = {
    "reprojection": 0.07,
    "proportions": 0.55,
    "jumps": 9.0,
    "shaking": 18.0,
    "trembling": 0.045,
    "stature": 0.18,
    "given_stature": 0.12,
    "stature_change": 0.06,
    "sliding": 0.05,
    "sides": 0.7,
    "outside": 0.02,
    "corner": 2.1,
}
ADVICE: Mapping[str, str] = {
    "reprojection": "the motion deviates from the keypoints by {value:.0%} of the body size: a wrong joint order (see "
    "--skeleton), several people under one id, or left and right exchanged.",
    "proportions": "no body has limbs like these keypoints, one is {factor:.1f} times too long or too short for the "
    "others: a wrong joint order (see --skeleton) or several people under one id.",
    "jumps": "the keypoints jump at {value:.0f} m/s: several people under one id, or a wrong frame rate.",
    "shaking": "the motion shakes with {value:.0f} m/s^2: the keypoints are very rough, or the frame rate is wrong.",
    "trembling": "the person's size in the picture trembles by {value:.0%} from frame to frame: the keypoints are "
    "very rough.",
    "stature": "the person looks {tall:.2f} m tall, which few people are: check height, pitch, focal length and size "
    "in the camera file, and give the true body height with --stature.",
    "given_stature": "the person looks {tall:.2f} m tall, and --stature says {given:.2f} m, so all distances are wrong "
    "by a factor of {factor:.2f}. If only the height of the camera is wrong, it is {right_height:.2f} m instead of "
    "{height:.2f} m. Otherwise check pitch, focal length and size in the camera file.",
    "stature_change": "the person looks {value:.0%} less or more tall far away than near by: check pitch, height and "
    "focal length in the camera file.",
    "sliding": "the feet slide over the floor with the body, without steps: does the camera move or turn?",
    "sides": "the person walks backward nearly all the time: are left and right exchanged, or is the picture mirrored?",
    "outside": "{value:.0%} of the keypoints lie outside the camera's picture: is the camera file for pictures of "
    "another size?",
    "corner": "the keypoints only fill the upper left part of the camera's image, which is {value:.1f} times as "
    "large: is the camera file for larger pictures?",
}


@dataclass(frozen=True)
class LiftCheck:
    """One measured number and its interpretation.

    Attributes:
        name: key of LIMITS.
        value: measured value; NaN if it could not be measured.
        told: further numbers of its advice by name.
    """

    name: str
    value: float
    told: Mapping[str, float] = field(default_factory=dict)

    @property
    def limit(self) -> float:
        return LIMITS[self.name]

    @property
    def is_fine(self) -> bool:
        return not self.value > self.limit

    @property
    def advice(self) -> str:
        """The likely cause of a failed check."""
        return ADVICE[self.name].format(value=self.value, factor=math.exp(min(self.value, 10.0)), **self.told)


def check_lift(
    motion: Motion,
    kp2d: Tensor,
    conf: Tensor,
    camera: Rig,
    *,
    rest_joints: Tensor,
    heights: tuple[Tensor, Tensor] | None = None,
    stature: float | None = None,
) -> tuple[LiftCheck, ...]:
    """All checks of one person's motion.

    Args:
        motion: the lifted motion, in the world of the camera.
        kp2d, conf: (L, J, 2) pixels and (L, J) input of lifting, 0 for missing. camera: rig of one view.
        rest_joints: (J, 3) meters of a body, for the proportions of limbs.
        heights: meters over the floor of the top of the head and other parts (N, P), NaN where these are not known, and
            distance (N,) of the frames that determine both; None: no such frame.
        stature: given height of the person, meters; None: unknown.
    """
    joints3d, fps, skeleton = motion.joints3d, motion.fps, motion.skeleton
    pixels, seen = kp2d.double(), conf > 0
    projected, depth = project(camera, joints3d.double())
    diagonal = _diagonals(pixels, seen)
    roots = list(skeleton.root_joints)
    distance = depth[0][:, roots].mean(1).clamp(min=0.1)
    tall, away = (torch.zeros(0, 1), torch.zeros(0)) if heights is None else heights
    values = {
        "reprojection": _reprojection(projected[0], pixels, seen, diagonal),
        "proportions": _proportions(pixels, seen, diagonal, skeleton, rest_joints),
        "jumps": _jumps(pixels, seen, diagonal, fps),
        "shaking": _shaking(joints3d.double(), fps),
        "trembling": _trembling(pixels, seen, fps),
        "stature": _off_stature(tall[:, 0]) if stature is None else math.nan,
        "given_stature": math.nan if stature is None else _off_stature(tall[:, 0], (stature, stature)),
        "stature_change": _stature_change(tall, away),
        "sliding": _sliding(pixels, seen, distance / camera.K4[0, :2].mean(), fps, skeleton),
        "sides": _exchanged_sides(joints3d.double(), fps, skeleton, camera),
        **_place_in_picture(pixels, seen, camera.size[0]),
    }
    told: dict[str, dict[str, float]] = {"stature": {"tall": _seen_stature(tall[:, 0])}}
    if stature is not None:
        told["given_stature"] = _statures(tall[:, 0], stature, float(camera.centers[0, 1]))
    return tuple(LiftCheck(name, values[name], told.get(name, {})) for name in LIMITS)


def doubts(checks: Sequence[LiftCheck]) -> list[LiftCheck]:
    """The checks that are not fine."""
    return [check for check in checks if not check.is_fine]


def _diagonals(pixels: Tensor, seen: Tensor) -> Tensor:
    """(L,) diagonal of the box of the visible joints in pixels; NaN if fewer than half are visible."""
    low = pixels.masked_fill(~seen[..., None], torch.inf).amin(1)
    high = pixels.masked_fill(~seen[..., None], -torch.inf).amax(1)
    enough = seen.sum(1) * 2 >= max(int(seen.sum(1).max()), 2)
    return torch.where(enough, (high - low).norm(dim=-1), torch.nan)


def _reprojection(projected: Tensor, pixels: Tensor, seen: Tensor, diagonal: Tensor) -> float:
    """Median over frames of the mean distance from the keypoints, relative to the body size in the image."""
    off = ((projected - pixels).norm(dim=-1) * seen).sum(1) / seen.sum(1).clamp(min=1)
    return float((off / diagonal).nanmedian())


def _proportions(pixels: Tensor, seen: Tensor, diagonal: Tensor, skeleton: Skeleton, rest_joints: Tensor) -> float:
    """|log| of the second worst limb bone length relative to the others, from maximum apparent lengths."""
    ratios = []
    size = diagonal.nanmedian()
    for start, end in LIMB_BONES:
        if not {start, end} <= set(skeleton.joint_names):
            continue
        a, b = skeleton.indices(start, end)
        both = seen[:, a] & seen[:, b] & diagonal.isfinite()
        if int(both.sum()) >= ENOUGH:
            long = ((pixels[both, a] - pixels[both, b]).norm(dim=-1) / diagonal[both] * size).quantile(LONGEST_SEEN)
            ratios.append(float(long / (rest_joints[a] - rest_joints[b]).norm()))
    if len(ratios) < 4:
        return math.nan
    logs = torch.tensor(ratios, dtype=torch.float64).clamp(min=1e-6).log()
    return float((logs - logs.median()).abs().sort().values[-2])


def _jumps(pixels: Tensor, seen: Tensor, diagonal: Tensor, fps: float) -> float:
    """Maximum speed of the median keypoint from frame to frame in m/s, assuming the body size of a person."""
    both = seen[1:] & seen[:-1]
    steps = (pixels[1:] - pixels[:-1]).norm(dim=-1).masked_fill(~both, torch.nan).nanmedian(1).values
    enough = both.sum(1) * 2 >= seen.shape[1] // 2
    speed = (steps / torch.minimum(diagonal[1:], diagonal[:-1]))[enough] * BODY * fps
    speed = speed[speed.isfinite()]
    return float(speed.max()) if len(speed) else math.nan


def _shaking(joints3d: Tensor, fps: float) -> float:
    """Median over frames of the mean acceleration of the joints, m/s^2."""
    if len(joints3d) < 3:
        return math.nan
    return float((joints3d.diff(n=2, dim=0).norm(dim=-1) * fps**2).mean(1).median())


def _trembling(pixels: Tensor, seen: Tensor, fps: float) -> float:
    """Median over frames of the deviation of the log body size in the image from the mean of its neighbors."""
    if len(pixels) < 3 or fps < SLOWEST:
        return math.nan
    throughout = seen[:-2] & seen[1:-1] & seen[2:]
    count = throughout.sum(1)
    sizes = []
    for points in (pixels[:-2], pixels[1:-1], pixels[2:]):
        middle = (points * throughout[..., None]).sum(1) / count.clamp(min=1)[:, None]
        off = (points - middle[:, None]).square().sum(-1) * throughout
        sizes.append((off.sum(1) / count.clamp(min=1)).clamp(min=1e-9).log() / 2)
    enough = count * 2 >= pixels.shape[1]
    off = (sizes[1] - (sizes[0] + sizes[2]) / 2).abs()[enough]
    return float(off.median()) if len(off) >= ENOUGH else math.nan


def _off_stature(tall: Tensor, usual: tuple[float, float] = USUAL) -> float:
    """|log| of the stature against usual ones: 0 between the two."""
    if len(tall) < ENOUGH:
        return math.nan
    stature = _seen_stature(tall)
    return max(math.log(usual[0] / max(stature, 1e-3)), math.log(stature / usual[1]), 0.0) if stature > 0 else math.inf


def _seen_stature(tall: Tensor) -> float:
    """Meters: the height of a person that is seen, 0 for one below the floor; NaN without a frame."""
    return max(float(tall.quantile(UPRIGHT)), 0.0) if len(tall) else math.nan


def _statures(tall: Tensor, given: float, height: float) -> dict[str, float]:
    """Meters: the height of a person that is seen and the given one, and the height of the camera as it is and as the
    given height demands, since the whole scene scales with it."""
    seen = _seen_stature(tall)
    right_height = height * given / seen if seen > 0 else math.nan
    return {"tall": seen, "given": given, "height": height, "right_height": right_height}


def _stature_change(heights: Tensor, away: Tensor) -> float:
    """|log| of the heights in the farther third of the frames over those in the nearer third, in the median.

    A wrong camera scales all parts of a body equally; bending or crouching does not. The result is therefore the
    smallest change among the parts (N, P), and 0 if one part grows while another one shrinks.
    """
    if len(heights) < 3 * ENOUGH:
        return math.nan
    order = away.argsort()
    third = len(order) // 3
    near, far = order[:third], order[-third:]
    if away[far].mean() < NEAR_AND_FAR * away[near].mean():
        return math.nan
    changes = []
    for part in heights.T:
        if min(int(part[frames].isfinite().sum()) for frames in (near, far)) >= ENOUGH:
            changes.append(math.log(max(float(part[far].nanmedian() / part[near].nanmedian()), 1e-3)))
    if not changes or min(changes) * max(changes) <= 0:
        return 0.0 if changes else math.nan
    return min(abs(change) for change in changes)


def _sliding(pixels: Tensor, seen: Tensor, meters: Tensor, fps: float, skeleton: Skeleton) -> float:
    """Common speed of body and both feet, m/s across the image at the person's distance: |v| - 2 max_j |v_j - v|.

    v is the median velocity of the joints and j goes over the foot joints. While one foot stands, this is at most -|v|,
    and the feet of runners swing relative to the body. A standing person in front of a moving camera moves as a whole.
    """
    feet = list(skeleton.contact_joints)
    sides = [[k for k, j in enumerate(feet) if skeleton.joint_names[j].startswith(s)] for s in ("left", "right")]
    filled = interpolate_gaps(pixels.transpose(0, 1), seen.T).transpose(0, 1)
    smooth = torch.from_numpy(gaussian_filter1d(filled.numpy(), FOOT_SMOOTHING * fps, axis=0, mode="nearest"))
    if len(smooth) < 3:
        return math.nan
    known = seen[1:-1] & seen[2:] & seen[:-2]
    velocity = (smooth[2:] - smooth[:-2]) / 2 * fps * meters[1:-1, None, None]
    body = velocity.masked_fill(~known[..., None], torch.nan).nanmedian(1).values
    own = (velocity[:, feet] - body[:, None]).norm(dim=-1).masked_fill(~known[:, feet], 0.0).amax(1)
    enough = known[:, feet][:, sides[0]].any(1) & known[:, feet][:, sides[1]].any(1)
    if int(enough.sum()) < ENOUGH:
        return math.nan
    return float((body.norm(dim=-1) - 2 * own)[enough].quantile(SLIDING))


def _exchanged_sides(joints3d: Tensor, fps: float, skeleton: Skeleton, camera: Rig) -> float:
    """How much hips and shoulders face away from where the body walks: 1 for always, -1 for never.

    A person with left and right exchanged looks like one who faces the same way across the image, but away from the
    camera instead of towards it; the path keeps its depth. So only depths are compared, where both are clear. Toes do
    not tell more: their depth follows that of the hips when they are lifted.
    """
    if not set(SIDE_JOINTS) <= set(skeleton.joint_names) or len(joints3d) < ENOUGH:
        return math.nan
    hips_l, hips_r, shoulders_l, shoulders_r = (joints3d[:, j] for j in skeleton.indices(*SIDE_JOINTS))
    across = hips_l - hips_r + shoulders_l - shoulders_r
    facing = torch.stack([-across[:, 2], across[:, 0]], -1)  # x and z
    path = joints3d[:, list(skeleton.root_joints)].mean(1)[:, [0, 2]]
    smooth = gaussian_filter1d(path.numpy(), PACE_SMOOTHING * fps, axis=0, mode="nearest")
    velocity = torch.gradient(torch.from_numpy(smooth), dim=0)[0] * fps
    away = path - camera.centers[0, [0, 2]].to(path)
    faces, walks = (torch.cosine_similarity(vectors, away, dim=-1) for vectors in (facing, velocity))
    is_clear = (velocity.norm(dim=-1) > WALKING) & (faces.abs() > IN_DEPTH) & (walks.abs() > IN_DEPTH)
    if int(is_clear.sum()) < ENOUGH:
        return math.nan
    return -float((faces * walks)[is_clear].sign().mean())


def _place_in_picture(pixels: Tensor, seen: Tensor, size: Tensor) -> dict[str, float]:
    """Fraction of keypoints outside the image, and image size relative to the upper left part with all keypoints."""
    points = pixels[seen] / size
    if len(points) < ENOUGH:
        return {"outside": math.nan, "corner": math.nan}
    outside = ((points < -MARGIN) | (points > 1 + MARGIN)).any(-1).double().mean()
    return {"outside": float(outside), "corner": float(1 / points.amax().clamp(min=1e-3))}

"""`prepare`: turns a dataset into a motion store.

hmr4d prepare synthetic --out inputs/synthetic
hmr4d prepare bandai_namco --root bandai_namco.tar.xz --out inputs/bandai_namco
hmr4d prepare cmu --root cmu.tar.xz --out inputs/cmu_full
hmr4d prepare humanml3d-from-amass --amass inputs/amass --index index.csv --texts texts.zip --out inputs/hml3d
hmr4d prepare humanml3d --root inputs/hml3d --out inputs/humanml3d
hmr4d prepare bvh --root my_clips --captions captions.csv --map bandai_namco --out inputs/my_clips
hmr4d prepare keypoints --root my_keypoints --captions captions.csv --fps 30 --out inputs/keypoints2d
hmr4d prepare render-2d --store inputs/cmu --out inputs/cmu_2d --views 4
hmr4d prepare join --stores inputs/cmu inputs/bandai_namco --pairs 600 --out inputs/everyday
hmr4d prepare text --store inputs/bandai_namco --text-encoder minilm
hmr4d prepare statistics --exp EXPERIMENT --out hmr4d/representation/statistics/everyday_20fps.npz
hmr4d prepare text-adapter --store inputs/bandai_namco --out inputs/text_adapter
hmr4d prepare pose-prior --store inputs/bandai_namco --out inputs/pose_prior.npz
hmr4d prepare pack --store inputs/cmu_full --out inputs/cmu
hmr4d prepare detector --from mediapipe.whl pose.tgz --out inputs/checkpoints/hmr4d/blazepose
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hmr4d.body.skeleton import COCO17
from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.cli.prepare_derived import Commands, Derived, add_derived
from hmr4d.data.importers import bandai_namco, bvh_folder, cmu, humanml3d, joined, synthetic
from hmr4d.data.importers.caption_tables import read_captions_file
from hmr4d.data.importers.cmu_files import restore_lost_bones
from hmr4d.data.importers.conversion import RETARGETS, Conversion
from hmr4d.data.importers.humanml3d_release import MAKES
from hmr4d.data.importers.keypoints import JOINT_SETS, import_keypoints
from hmr4d.data.importers.render2d import CameraDraws, render_store
from hmr4d.data.importers.splits import SPLITS
from hmr4d.data.lifting.corruptions import NO_CORRUPTION
from hmr4d.data.store import write_text_cache
from hmr4d.data.store_writer import StoreSummary
from hmr4d.motion_files.bone_names import OWN_NAMES
from hmr4d.motion_files.joint_maps import JOINT_MAPS
from hmr4d.motion_files.source_frame import METERS_PER_UNIT, UP_AXES, meters_per_unit
from hmr4d.utils.places import inputs_folder

if TYPE_CHECKING:
    from hmr4d.data.importers.humanml3d_build import BuildReport

# Below the inputs.
CLIP_FOLDER = Path("checkpoints/huggingface/clip-vit-base-patch32")
BODY_MODELS = Path("checkpoints/body_models")
# Per built-in joint map: default unit and number of frames to skip.
_MAP_DEFAULTS = {"bandai_namco": ("cm", 0), "cmu": ("cmu", 1), OWN_NAMES: ("m", 0)}


def build_parser() -> argparse.ArgumentParser:
    """Command line of `prepare`: one sub-command per dataset."""
    parser = argparse.ArgumentParser(
        prog="hmr4d prepare",
        description="Turn a dataset into a motion store: joints in meters, 20 fps, captions and licence notice.",
        epilog="Repeat the command to continue an interrupted run. See docs/data.md.",
    )
    commands = parser.add_subparsers(dest="dataset", required=True, metavar="DATASET")
    _add_synthetic(commands)
    _add_cmu(commands)
    _add_bandai_namco(commands)
    _add_humanml3d(commands)
    _add_humanml3d_from_amass(commands)
    _add_bvh(commands)
    _add_keypoints(commands)
    _add_render_2d(commands)
    _add_join(commands)
    _add_text(commands)
    add_derived(commands)
    return parser


def _add_command(
    commands: Commands, name: str, help_text: str, run: Callable[[argparse.Namespace], StoreSummary]
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=help_text, description=help_text + ".", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    command.set_defaults(run=run)
    command.add_argument("--out", type=Path, default=inputs_folder() / name, help="folder of the store")
    command.add_argument("--overwrite", action="store_true", help="replace a finished store")
    _add_text_options(command, default=None)
    return command


def _add_text_options(command: argparse.ArgumentParser, default: str | None) -> None:
    command.add_argument(
        "--text-encoder", metavar="NAME", default=default, help="cache the captions' embeddings: minilm, clip or hash"
    )
    command.add_argument(
        "--text-folder", type=Path, default=inputs_folder() / CLIP_FOLDER, help="folder of the CLIP model"
    )


def _add_bvh_options(command: argparse.ArgumentParser, min_frames: int) -> None:
    """Options that every BVH source has."""
    command.add_argument("--min-frames", type=int, default=min_frames, help="exclude shorter clips (20 fps frames)")
    command.add_argument("--retarget", choices=RETARGETS, default="none", help="target bone lengths")
    command.add_argument("--canonical", action="store_true", help="turn clips to face +z at the origin")
    command.add_argument("--skip-bad", action="store_true", help="leave out unreadable files instead of stopping")
    command.add_argument("--jobs", type=int, default=None, help="worker processes; None: one per core")


def _add_synthetic(commands: Commands) -> None:
    command = _add_command(commands, "synthetic", "procedural walks, turns and waves; no download", _run_synthetic)
    command.add_argument("--num-clips", type=int, default=24, help="number of clips")
    command.add_argument("--seed", type=int, default=0, help="seed of motion and captions")


def _add_bandai_namco(commands: Commands) -> None:
    command = _add_command(
        commands, "bandai_namco", "Bandai-Namco-Research-Motiondataset 1 and 2 (CC BY-NC 4.0)", _run_bandai_namco
    )
    command.add_argument("--root", type=Path, required=True, help="dataset folder, or a tar archive of it")
    command.add_argument(
        "--captions",
        type=int,
        default=bandai_namco.DEFAULT_CAPTIONS_PER_CELL,
        help="grammar captions per content x style",
    )
    command.add_argument("--seed", type=int, default=0, help="seed of the captions")
    command.add_argument("--keep-about-face", action="store_true", help="keep clips with part of an extra about-face")
    _add_bvh_options(command, bandai_namco.DEFAULT_MIN_FRAMES)


def _add_cmu(commands: Commands) -> None:
    command = _add_command(
        commands, "cmu", "CMU motion capture database, or a part of it (free for all uses)", _run_cmu
    )
    command.add_argument(
        "--root", type=Path, required=True, help="folder or tar archive of .amc and .asf or .bvh files"
    )
    command.add_argument("--captions", type=Path, default=cmu.FOLDER, help="folder of caption files")
    command.add_argument("--min-frames", type=int, default=cmu.DEFAULT_MIN_FRAMES, help="exclude shorter pieces")
    command.add_argument("--skip-bad", action="store_true", help="leave out unreadable files instead of stopping")
    command.add_argument("--jobs", type=int, default=None, help="worker processes; None: one per core")


def _add_humanml3d(commands: Commands) -> None:
    command = _add_command(commands, "humanml3d", "HumanML3D joints, texts and split lists", _run_humanml3d)
    command.add_argument("--root", type=Path, required=True, help="folder with texts/, train.txt, ... and the joints")
    command.add_argument(
        "--joints", type=Path, help="joints3d.pth, joints3d.npz or new_joints/; None: search in --root"
    )
    command.add_argument("--skip-bad", action="store_true", help="skip unreadable clips instead of stopping")


def _add_humanml3d_from_amass(commands: Commands) -> None:
    inputs = inputs_folder()
    help_text = "build HumanML3D itself: AMASS, HumanAct12, index.csv and texts -> features and joints3d.pth"
    command = commands.add_parser(
        "humanml3d-from-amass",
        help=help_text,
        description=help_text + ".",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.set_defaults(run=_run_humanml3d_from_amass, text_encoder=None)
    command.add_argument("--amass", type=Path, required=True, help="folder of the AMASS subsets, unpacked or archives")
    command.add_argument("--humanact12", type=Path, help="folder or zip file of HumanAct12")
    command.add_argument("--index", type=Path, required=True, help="index.csv of HumanML3D")
    command.add_argument("--texts", type=Path, required=True, help="folder or zip file of the texts of HumanML3D")
    command.add_argument(
        "--body-models", type=Path, default=inputs / BODY_MODELS, help="folder with smplh/male and smplh/female"
    )
    command.add_argument("--splits", type=Path, help="folder of train.txt, ...; None: next to --texts or --index")
    command.add_argument("--out", type=Path, default=inputs / "hml3d", help="folder of the result")
    command.add_argument(
        "--make",
        nargs="+",
        choices=MAKES,
        default=list(MAKES),
        help="new_joints: features, their joints, mean and deviation; joints3d: joints3d.pth",
    )
    command.add_argument("--allow-missing", action="store_true", help="build what the available parts allow")
    command.add_argument("--overwrite", action="store_true", help="replace the content of --out")
    command.add_argument("--jobs", type=int, default=None, help="worker processes; None: one per core")


def _add_bvh(commands: Commands) -> None:
    command = _add_command(commands, "bvh", "any folder of BVH files, with a captions file", _run_bvh)
    command.add_argument("--root", type=Path, required=True, help="folder; .bvh files are looked for at any depth")
    command.add_argument("--captions", type=Path, help=".csv or .tsv (file, caption) or .json {file: caption or list}")
    command.add_argument("--map", default="cmu", help=f"joint map: {', '.join(sorted(JOINT_MAPS))} or a YAML file")
    command.add_argument(
        "--unit", help=f"unit of positions: {', '.join(METERS_PER_UNIT)}, or meters per unit; None: default of --map"
    )
    command.add_argument("--up", choices=UP_AXES, default="y", help="axis that points up in the files")
    command.add_argument(
        "--source-fps", type=float, help="frames per second of the files; None: as stated in the files"
    )
    command.add_argument(
        "--skip-frames", type=int, help="frames dropped at the start of each file; None: default of --map"
    )
    command.add_argument("--fps", type=float, default=20.0, help="frames per second of the store")
    command.add_argument("--add-offset", action="store_true", help="position channels count from OFFSET")
    command.add_argument("--name", default="bvh", help="dataset name written into the store")
    command.add_argument("--licence", help="licence of the files; None: that of the metadata files which export writes")
    command.add_argument(
        "--split", choices=SPLITS, help="one split for all clips; None: 85 / 5 / 10 %% train / val / test by name"
    )
    _add_bvh_options(command, 1)


def _add_keypoints(commands: Commands) -> None:
    command = _add_command(
        commands, "keypoints", "keypoint files of videos with a captions file, for training on 2D only", _run_keypoints
    )
    command.set_defaults(out=inputs_folder() / "keypoints2d")
    command.add_argument(
        "--joints",
        choices=JOINT_SETS,
        default=COCO17.name,
        help="joints of the store; smpl22 keeps toes if the detector has them",
    )
    command.add_argument("--licence", default="unknown; ask the owner of the videos", help="licence of the videos")
    command.add_argument(
        "--split", choices=SPLITS, help="one split for all clips; None: 85 / 5 / 10 %% train / val / test by name"
    )
    command.add_argument("--root", type=Path, required=True, help="folder of keypoint files, one video each")
    command.add_argument("--captions", type=Path, required=True, help=".csv or .tsv (file, caption) or .json")
    command.add_argument("--fps", type=float, help="frames per second of files without this value")
    command.add_argument("--skeleton", help="joint set, if it cannot be detected from the file or the limbs")
    command.add_argument(
        "--size", type=int, nargs=2, metavar=("W", "H"), help="image size in pixels, for files without it"
    )


def _run_keypoints(args: argparse.Namespace) -> StoreSummary:
    return import_keypoints(
        args.root, args.out, read_captions_file(args.captions), fps=args.fps, skeleton=args.skeleton,
        size=None if args.size is None else tuple(args.size), joints=args.joints, licence=args.licence,
        split=args.split, overwrite=args.overwrite,
    )  # fmt: skip


def _add_render_2d(commands: Commands) -> None:
    cameras = CameraDraws()
    command = _add_command(
        commands, "render-2d", "project a store of 3D motion to 2D keypoints in random cameras", _run_render_2d
    )
    command.add_argument("--store", type=Path, required=True, help="folder of the store of 3D motion")
    command.add_argument("--views", type=int, default=4, help="cameras that see each clip")
    command.add_argument("--distance", type=float, nargs=2, default=cameras.distance, help="meters, least and most")
    command.add_argument("--pitch", type=float, nargs=2, default=cameras.pitch, help="degrees that cameras look down")
    command.add_argument("--no-damage", action="store_true", help="exact keypoints without detector noise")
    command.add_argument("--min-frames", type=int, default=60, help="exclude shorter clips (30 fps frames)")
    command.add_argument("--max-frames", type=int, default=300, help="cut longer clips into equal parts")
    command.add_argument("--seed", type=int, default=0, help="seed of cameras and noise")


def _run_render_2d(args: argparse.Namespace) -> StoreSummary:
    return render_store(
        args.store,
        args.out,
        views=args.views,
        min_frames=args.min_frames,
        max_frames=args.max_frames,
        seed=args.seed,
        cameras=CameraDraws(distance=tuple(args.distance), pitch=tuple(args.pitch)),
        corruption=NO_CORRUPTION if args.no_damage else None,
        overwrite=args.overwrite,
    )


def _add_join(commands: Commands) -> None:
    command = _add_command(commands, "join", "several stores as one, on one body, with pairs of pieces", _run_join)
    command.add_argument("--stores", type=Path, nargs="+", required=True, help="folders of the stores")
    command.add_argument("--name", help="name of the joined store; None: the names of the stores")
    command.add_argument("--retarget", choices=joined.RETARGETS, default="smpl_mean", help="bone lengths")
    command.add_argument("--pairs", type=int, default=0, help="pieces that follow each other, with both sentences")
    command.add_argument("--seed", type=int, default=0, help="seed of the pairs")


def _add_text(commands: Commands) -> None:
    help_text = "cache the text embeddings of a store that is there already"
    command = commands.add_parser(
        "text", help=help_text, description=help_text + ".", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    command.set_defaults(run=None)
    command.add_argument("--store", type=Path, required=True, help="folder of the store")
    _add_text_options(command, default="minilm")


def _run_synthetic(args: argparse.Namespace) -> StoreSummary:
    return synthetic.import_synthetic(args.out, num_clips=args.num_clips, seed=args.seed, overwrite=args.overwrite)


def _run_join(args: argparse.Namespace) -> StoreSummary:
    return joined.join_stores(
        args.stores,
        args.out,
        name=args.name,
        retarget=args.retarget,
        pairs=args.pairs,
        seed=args.seed,
        overwrite=args.overwrite,
    )


def _run_bandai_namco(args: argparse.Namespace) -> StoreSummary:
    sys.stderr.write(bandai_namco.NOTICE + "\n")
    return bandai_namco.import_bandai_namco(
        args.root,
        args.out,
        min_frames=args.min_frames,
        captions_per_cell=args.captions,
        caption_seed=args.seed,
        retarget=args.retarget,
        canonical=args.canonical,
        keep_about_face=args.keep_about_face,
        skip_bad=args.skip_bad,
        jobs=args.jobs,
        overwrite=args.overwrite,
    )


def _run_cmu(args: argparse.Namespace) -> StoreSummary:
    sys.stderr.write(cmu.NOTICE + "\n")
    return cmu.import_cmu(
        args.root,
        args.out,
        captions=args.captions,
        min_frames=args.min_frames,
        skip_bad=args.skip_bad,
        jobs=args.jobs,
        overwrite=args.overwrite,
    )


def _run_humanml3d(args: argparse.Namespace) -> StoreSummary:
    sys.stderr.write(humanml3d.NOTICE + "\n")
    return humanml3d.import_humanml3d(
        args.root, args.out, joints=args.joints, skip_bad=args.skip_bad, overwrite=args.overwrite
    )


def _run_humanml3d_from_amass(args: argparse.Namespace) -> BuildReport:
    from hmr4d.data.importers.humanml3d_build import build_humanml3d
    from hmr4d.data.importers.humanml3d_inventory import Places

    sys.stderr.write(humanml3d.NOTICE + "\n")
    places = Places(
        amass=args.amass,
        index=args.index,
        texts=args.texts,
        body_models=args.body_models,
        out=args.out,
        humanact12=args.humanact12,
        splits=args.splits,
    )
    return build_humanml3d(
        places, make=args.make, jobs=args.jobs, allow_missing=args.allow_missing, overwrite=args.overwrite
    )


def _run_bvh(args: argparse.Namespace) -> StoreSummary:
    unit, skip_frames = _MAP_DEFAULTS.get(args.map, ("cm", 0))
    conversion = Conversion(
        bvh_folder.load_joint_map(args.map),
        meters_per_unit=meters_per_unit(args.unit or unit),
        fps=args.fps,
        up=args.up,
        skip_frames=skip_frames if args.skip_frames is None else args.skip_frames,
        retarget=args.retarget,
        add_offset_to_positions=args.add_offset,
        source_fps=args.source_fps,
        mend=restore_lost_bones if args.map == "cmu" else None,
    )
    if args.map == "cmu":
        sys.stderr.write(bvh_folder.CMU_CREDIT + "\n")
    return bvh_folder.import_bvh_folder(
        args.root,
        args.out,
        conversion=conversion,
        name=args.name,
        licence=args.licence,
        split=args.split,
        captions=None if args.captions is None else read_captions_file(args.captions),
        min_frames=args.min_frames,
        canonical=args.canonical,
        skip_bad=args.skip_bad,
        jobs=args.jobs,
        overwrite=args.overwrite,
    )


def _summary(result: StoreSummary | BuildReport | Derived) -> str:
    if isinstance(result, Derived):
        return "\n".join([f"{result.path}: {result.story[0]}", *result.story[1:]])
    if isinstance(result, StoreSummary):
        return (
            f"{result.path}: {result.num_clips} clips, {result.num_frames} frames, {result.num_captions} captions, "
            f"{len(result.dropped)} clips excluded"
        )
    return (
        f"{result.path}: {result.num_clips} clips and as many mirrored ones, {result.num_problems} problems, "
        f"{len(result.differences)} differences from the release; all are in {result.record}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `prepare`; returns the exit code: 0, or 2 for bad input with one sentence on stderr."""
    args = build_parser().parse_args(argv)
    setup_logging()

    def run() -> int:
        cache_text = None
        if args.text_encoder:  # built first, so that a wrong name fails before the import
            from hmr4d.nn.text import build_text_encoder, encode_numpy

            encoder = build_text_encoder(args.text_encoder, folder=args.text_folder)
            encode = functools.partial(encode_numpy, encoder)
            cache_text = functools.partial(write_text_cache, encoder_name=args.text_encoder, encode=encode)
        if args.run is None:
            store = args.store
        else:
            result = args.run(args)
            sys.stdout.write(f"{_summary(result)}\n")
            store = result.path
        if cache_text is not None:
            sys.stdout.write(f"{cache_text(store)}\n")
        return 0

    return run_guarded(run)

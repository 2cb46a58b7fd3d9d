"""Everything that HumanML3D is built from, looked up before any work, with all that is missing in one list."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hmr4d.body.smplh_joints import GENDERS, find_smplh, how_to_get_smplh, smplh_places
from hmr4d.data.importers.humanml3d_release import HUMANACT12, IndexRow, published_release, read_index, source_key
from hmr4d.data.importers.source_files import SourceFiles, archive_name
from hmr4d.utils.files import write_text

logger = logging.getLogger(__name__)

AMASS_SITE = "https://amass.is.tue.mpg.de"
HUMANML3D_SITE = "https://github.com/EricGuo5513/HumanML3D"
_SHOWN_NAMES = 20  # per kind of missing file; the others are written to a file


@dataclass(frozen=True)
class Places:
    """Paths of the parts and of the result.

    Attributes:
        amass: folder of the AMASS subsets (SMPL+H G), unpacked or as the archives of the site.
        index: index.csv.
        texts: folder or archive of the text files.
        body_models: folder with the SMPL+H models of both genders.
        out: folder of the result.
        humanact12: folder or archive of HumanAct12; or None. splits: folder of the split lists; None: next to `texts`
            and `index`.
    """

    amass: Path
    index: Path
    texts: Path
    body_models: Path
    out: Path
    humanact12: Path | None = None
    splits: Path | None = None

    @property
    def notes(self) -> Path:
        """Working folder of this preparation: raw clips, its record, listings."""
        return self.out / "preparation"


@dataclass(frozen=True)
class Inventory:
    """The available parts.

    Attributes:
        rows: rows of index.csv.
        motions: motion files by `IndexRow.key`.
        texts: text files by clip name.
        models: body model file per gender.
    """

    rows: tuple[IndexRow, ...]
    motions: tuple[SourceFiles, ...]
    texts: SourceFiles
    models: dict[str, Path]


def take_inventory(places: Places, *, allow_missing: bool = False) -> Inventory:
    """Finds all parts.

    Args:
        places: paths of the parts. allow_missing: log missing parts and continue with the rest, if there is an
            index.csv.

    Raises:
        FileNotFoundError: missing parts; the message lists all of them with their sources.
        ValueError: index.csv is malformed.
    """
    missing: list[str] = []
    rows: list[IndexRow] = []
    if places.index.is_file():
        rows = read_index(places.index)
    else:
        missing.append(f"index of the clips: {places.index} does not exist. index.csv comes with {HUMANML3D_SITE}.")
    models = {g: path for g in GENDERS if (path := find_smplh(places.body_models, g)) is not None}
    if absent := [g for g in GENDERS if g not in models]:
        looked = ", ".join(str(smplh_places(places.body_models, g)[0]) for g in absent)
        missing.append(
            f"body model SMPL+H {' and '.join(absent)}: {looked} or SMPLH_<GENDER>.npz or .pkl. "
            f"{how_to_get_smplh(places.body_models)}"
        )
    lists: dict[str, list[str]] = {}
    amass = _amass_files(places, [r for r in rows if not r.is_humanact12], missing, lists)
    humanact12 = _humanact12_files(places, [r for r in rows if r.is_humanact12], missing, lists, has_index=bool(rows))
    texts = _text_files(places, rows, missing, lists)
    if lists:
        path = places.notes / "missing.txt"
        if any(len(names) > _SHOWN_NAMES for names in lists.values()):
            write_text(path, "".join(f"{name}\n" for names in lists.values() for name in names))
        missing += [_shown(what, names, path) for what, names in lists.items()]
    if missing and (not allow_missing or not rows):
        advice = "Get them, or add --allow-missing to build the rest." if rows else "Get them first."
        raise FileNotFoundError("\n- ".join([f"{len(missing)} parts are missing. {advice}", *missing]))
    for sentence in missing:
        logger.warning("Missing: %s", sentence)
    return Inventory(tuple(rows), (amass, humanact12), texts, models)


def _shown(what: str, names: Sequence[str], path: Path) -> str:
    more = f", and {len(names) - _SHOWN_NAMES:,} more; all are in {path}" if len(names) > _SHOWN_NAMES else ""
    return f"{what}: {', '.join(names[:_SHOWN_NAMES])}{more}"


def _add_archives(files: SourceFiles, archives: Iterable[Path], missing: list[str]) -> None:
    for path in archives:
        try:
            files.add_archive(path)
        except ValueError as error:
            missing.append(str(error))


def _amass_files(
    places: Places, rows: Sequence[IndexRow], missing: list[str], lists: dict[str, list[str]]
) -> SourceFiles:
    """Files of AMASS: folders first, then the archives of the subsets that the folders do not complete."""
    files = SourceFiles(source_key, ".npz", listings=places.notes / "archive_listings.json")
    if not places.amass.is_dir():
        missing.append(
            f"AMASS: no folder {places.amass}. Register at {AMASS_SITE}, download 'SMPL+H G' of each subset."
        )
        return files
    if not rows:  # without index.csv: the subsets of the release
        missing += _absent_subsets(places.amass)
        return files
    files.add_folder(places.amass)
    wanted: dict[str, dict[str, str]] = {}
    for row in rows:
        wanted.setdefault(row.subset, {})[row.key] = row.source
    subset_of = published_release().subset_of
    there = files.keys()
    incomplete = {subset for subset, sources in wanted.items() if not sources.keys() <= there}
    archives = [p for p in sorted(places.amass.iterdir()) if subset_of.get(archive_name(p) or "") in incomplete]
    _add_archives(files, archives, missing)
    there = files.keys()
    for subset, sources in wanted.items():
        absent = [source for key, source in sources.items() if key not in there]
        if len(absent) == len(sources):
            clips = sum(row.subset == subset for row in rows)
            names = " or ".join(name for name, published in subset_of.items() if published == subset) or subset
            missing.append(
                f"AMASS {subset}: no folder or archive {names} with its files in {places.amass} ({clips:,} clips). "
                f"Register at {AMASS_SITE} and download its 'SMPL+H G'."
            )
        elif absent:
            lists[f"AMASS {subset}, {len(absent):,} of {len(sources):,} files"] = absent
    return files


def _absent_subsets(amass: Path) -> list[str]:
    """A message about the subsets of the release without folder and archive."""
    release = published_release()
    there = {release.subset_of.get(archive_name(p) or p.name) for p in amass.iterdir()}
    absent = [name for name, count in release.rows_of.items() if count and name != HUMANACT12 and name not in there]
    if not absent:
        return []
    return [
        f"AMASS subsets {', '.join(absent)}: nothing in {amass}. Register at {AMASS_SITE}, download their 'SMPL+H G'."
    ]


def _humanact12_files(
    places: Places, rows: Sequence[IndexRow], missing: list[str], lists: dict[str, list[str]], *, has_index: bool
) -> SourceFiles:
    files = SourceFiles(lambda path: f"{HUMANACT12}/{path.stem}", ".npy")
    hint = f"humanact12.zip comes with {HUMANML3D_SITE}"
    if not rows and has_index:
        return files
    if places.humanact12 is None or not places.humanact12.exists():
        given = f"{places.humanact12} does not exist" if places.humanact12 else "no path is given"
        count = len(rows) or published_release().rows_of[HUMANACT12]
        missing.append(f"HumanAct12: {given} ({count:,} clips). {hint}.")
        return files
    if not rows:
        return files
    _add_place(files, places.humanact12, missing)
    there = files.keys()
    if absent := [row.source for row in rows if row.key not in there]:
        lists[f"HumanAct12, {len(absent):,} of {len(rows):,} files in {places.humanact12}"] = absent
    return files


def _text_files(
    places: Places, rows: Sequence[IndexRow], missing: list[str], lists: dict[str, list[str]]
) -> SourceFiles:
    files = SourceFiles(lambda path: path.stem, ".txt")
    if not places.texts.exists():
        missing.append(f"texts: {places.texts} does not exist. texts.zip comes with {HUMANML3D_SITE}.")
        return files
    _add_place(files, places.texts, missing)
    without_text = files.keys() | published_release().one_frame_clips
    if absent := [f"{row.name}.txt" for row in rows if row.name not in without_text]:
        lists[f"texts, {len(absent):,} of {len(rows):,} files in {places.texts}"] = absent
    return files


def _add_place(files: SourceFiles, place: Path, missing: list[str]) -> None:
    if place.is_dir():
        files.add_folder(place)
    elif archive_name(place) is not None:
        _add_archives(files, [place], missing)
    else:
        missing.append(f"{place} is neither a folder nor a tar or zip archive.")


def split_lists(places: Places, names: Iterable[str]) -> dict[str, Path]:
    """Existing split lists of the release, by split name."""
    folders = [places.splits] if places.splits is not None else [places.texts.parent, places.index.parent]
    found = {}
    for name in names:
        path = next((f / f"{name}.txt" for f in folders if (f / f"{name}.txt").is_file()), None)
        if path is not None:
            found[name] = path
    return found

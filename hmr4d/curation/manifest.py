"""The table of all clips, one row per clip: Parquet if pyarrow is installed, otherwise JSON lines."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hmr4d.utils.files import atomic_path

logger = logging.getLogger(__name__)

PARQUET, LINES = "manifest.parquet", "manifest.jsonl"
ROWS_PER_GROUP = 10_000
FLAT = (
    "clip_id", "split", "shard", "n_frames", "start_s", "end_s", "fps", "width", "height", "detector",
    "detector_version", "mean_speed",
)  # fmt: skip


def has_parquet() -> bool:
    """Whether Parquet can be written and read."""
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError:
        return False
    return True


def manifest_row(meta: Mapping[str, Any], shard: str) -> dict[str, Any]:
    """The row of a clip: its JSON, flattened except for captions and filters."""
    row = {name: meta[name] for name in FLAT if name != "shard"} | {"shard": shard}
    row |= {f"source_{name}": meta["source"][name] for name in ("kind", "id", "url", "licence")}
    row |= {f"frames_{view}": count for view, count in meta["viewpoint_counts"].items()}
    row |= {f"review_{name}": value for name, value in meta["review"].items()}
    row["captions"] = [dict(caption) for caption in meta["captions"]]
    row["filters"] = json.dumps(meta["filters"], sort_keys=True)
    return row


class ManifestWriter:
    """Writes rows to `manifest.parquet`, or to `manifest.jsonl`; the file appears when the block ends without error."""

    def __init__(self, folder: Path) -> None:
        self._parquet = has_parquet()
        self.path = folder / (PARQUET if self._parquet else LINES)
        if not self._parquet:
            logger.warning(
                "The manifest is written as JSON lines: Parquet needs pyarrow (pip install 'hmr4d[curation]')."
            )
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> ManifestWriter:
        self._context = atomic_path(self.path)
        self._file: Any = None
        self._temporary = self._context.__enter__()
        if not self._parquet:
            self._file = self._temporary.open("w", encoding="utf-8")
        return self

    def add(self, row: Mapping[str, Any]) -> None:
        self._rows.append(dict(row))
        if len(self._rows) >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if not self._parquet:
            self._file.writelines(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in self._rows)
        else:
            import pyarrow as pa  # pyright: ignore[reportMissingImports]
            import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

            table = pa.Table.from_pylist(self._rows, schema=_schema())
            self._file = self._file or pq.ParquetWriter(self._temporary, table.schema)
            self._file.write_table(table)
        self._rows.clear()

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._flush()
        if self._file is not None:
            self._file.close()
        self._context.__exit__(*error)
        if error[0] is None:
            (self.path.parent / (LINES if self._parquet else PARQUET)).unlink(missing_ok=True)


def _schema() -> Any:
    import pyarrow as pa  # pyright: ignore[reportMissingImports]

    text, number, integer = pa.string(), pa.float64(), pa.int64()
    kinds = {"n_frames": integer, "width": integer, "height": integer, "start_s": number, "end_s": number,
             "fps": number, "mean_speed": number}  # fmt: skip
    fields = [(name, kinds.get(name, text)) for name in FLAT]
    fields += [(f"source_{name}", text) for name in ("kind", "id", "url", "licence")]
    fields += [(f"frames_{view}", integer) for view in ("front", "left", "right", "back")]
    fields += [(f"review_{name}", text) for name in ("status", "by", "note")]
    caption = pa.struct([(name, text) for name in ("text", "model", "prompt_id")])
    return pa.schema([*fields, ("captions", pa.list_(caption)), ("filters", text)])


def read_manifest(folder: Path) -> Iterator[dict[str, Any]]:
    """Rows of the manifest of a folder.

    Raises:
        FileNotFoundError: the manifest does not exist.
        ImportError: the manifest is Parquet and pyarrow is not installed.
    """
    if (folder / PARQUET).is_file():
        if not has_parquet():
            raise ImportError(f"{folder / PARQUET} needs pyarrow. Install it: pip install 'hmr4d[curation]'.")
        import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

        for batch in pq.ParquetFile(folder / PARQUET).iter_batches():
            yield from batch.to_pylist()
    elif (folder / LINES).is_file():
        with (folder / LINES).open(encoding="utf-8") as lines:
            yield from (json.loads(line) for line in lines)
    else:
        raise FileNotFoundError(
            f"{folder} contains no manifest. Create one: hmr4d curate run --root VIDEOS --out {folder}."
        )

"""The card of `hmr4d quality` as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hmr4d.evaluation.cards import HEADINGS

# name in the card, heading, decimal places
MEASURES = (
    ("foot_skating", "skating m/s", 3),
    ("jitter", "jitter m/s³", 0),
    ("bone_length_variation", "bone variation %", 2),
    ("root_speed", "root speed m/s", 2),
    ("floor_clearance", "clearance mm", 0),
    ("upright", "upright", 3),
    ("nearest_train", "nearest clip m", 3),
    ("near_train", "near", 2),
)
SCORES = (
    ("accuracy", "accuracy", 3),
    ("accuracy_synonyms", "with synonyms", 3),
    ("content_mean_accuracy", "mean over contents", 3),
)
MILLIMETERS = ("floor_clearance",)
NUM_CONFUSIONS = 12


def markdown(card: Mapping[str, Any]) -> str:
    """Tables of a card: provenance, scores of each set (overall, by content, confusions) and everyday verbs."""
    parts = [_made_by(card), _by_set(card["sets"])]
    for name, scored in card["sets"].items():
        rows = [(source, scored[source]) for source in ("real", "generated") if source in scored]
        count = rows[0][1]["num_motions"]
        parts.append(f"### {name}: {count} motions\n\n" + _overall(rows))
        parts.append(_by_content(rows))
        parts += [listed_confusions(source, scores["confusions"], scores["repeats"]) for source, scores in rows]
        parts.append(_diversity(scored.get("diversity", {})))
    if card.get("scores_2d") is not None:
        parts.append(_scores_2d(card["scores_2d"]))
    if card["verbs"] is not None:
        parts.append(_verbs(card["verbs"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _made_by(card: Mapping[str, Any]) -> str:
    judge = card["classifier"]
    lines = [f"`{card['command']}`", ""]
    if card["model"] is not None:
        metadata = ", ".join(f"{k} {v}" for k, v in card["model"].items() if v is not None and k != "name")
        chosen = f"{card['steps']} steps, guidance {card['guidance']}"
        lines.append(f"- model: {card['model']['name']} ({metadata}); {chosen}")
        lines.append(f"- repeats: {card['seeds']} (seeds 0 to {card['seeds'] - 1}); ± is the 95 % interval over them")
    lines.append(
        f"- real motion: {card['store']}, split {card['split']}, {card['fps']:g} fps, clips cut to "
        f"{card['seconds'][1]:g} s"
    )
    lines.append(
        f"- action-recognition classifier: accuracy {judge['test_accuracy']:.4f} on whole real test clips, "
        f"{judge['val_accuracy']:.4f} on "
        f"validation clips; {judge['test_content_mean_accuracy']:.4f} averaged over the {len(judge['test_contents'])} "
        f"contents with test clips (sha256 {judge['sha256'][:16]})"
    )
    if judge["without_test_clips"]:
        lines.append(f"- contents without test clips for the classifier: {', '.join(judge['without_test_clips'])}")
    if judge["few_train_clips"]:
        few = ", ".join(f"{content} {count}" for content, count in judge["few_train_clips"].items())
        lines.append(f"- contents with few training clips for the classifier (number of clips): {few}")
    if card["near_train_metres"] is not None:
        lines.append(
            f"- near: fraction of motions with a distance below {card['near_train_metres']:.3f} m to a training clip; "
            "5 % of the held-out real clips are below it"
        )
    return "\n".join(lines)


def _by_set(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Accuracy of recognized actions, one row per set; empty for a single set."""
    body = [
        [name, source, *(cell(scored[source]["all"], measure, digits) for measure, _, digits in SCORES)]
        for name, scored in sets.items()
        for source in ("real", "generated")
        if source in scored
    ]
    return table(["set", "", *(heading for _, heading, _ in SCORES)], body) if len(sets) > 1 else ""


def _measures_in(metrics: Mapping[str, Any]) -> tuple[tuple[str, str, int], ...]:
    return tuple(measure for measure in MEASURES if measure[0] in metrics)


def _overall(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    columns = (*SCORES, *_measures_in(rows[0][1]["all"]))
    lines = [(source, scores["all"]) for source, scores in rows]
    for source, scores in rows:
        if "contents_of_split" in scores:
            common = scores["contents_of_split"]
            lines.append((f"{source}, {common['num_motions']} of contents in the split", common["all"]))
    body = [[source, *(cell(scores, name, digits) for name, _, digits in columns)] for source, scores in lines]
    return table(["", *(heading for _, heading, _ in columns)], body)


def _by_content(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    columns = (SCORES[0], *_measures_in(rows[0][1]["all"]))
    sources = " / ".join(source for source, _ in rows)
    body = []
    for content, first in rows[0][1]["contents"].items():
        cells = []
        for name, _, digits in columns:
            cells.append(" / ".join(cell(scores["contents"][content], name, digits, False) for _, scores in rows))
        body.append([content, str(first["num_motions"]), *cells])
    by_content = table(["content", "n", *(heading for _, heading, _ in columns)], body)
    return f"By content ({sources}):\n\n{by_content}"


def _diversity(contents: Mapping[str, Mapping[str, Any]]) -> str:
    """Table of the diversity of samples of one prompt and of real clips of one content."""
    if not contents:
        return ""
    mean = {kind: sum(row[kind] for row in contents.values()) / len(contents) for kind in ("generated", "real")}
    rows = [("all", mean), *contents.items()]
    body = [[content, f"{row['generated']:.3f}", f"{row['real']:.3f}"] for content, row in rows]
    listed = table(["content", "samples of one prompt m", "real clips of the content m"], body)
    return f"Diversity (mean distance of two motions; first row: mean over {len(contents)} contents):\n\n{listed}"


def _verbs(verbs: Mapping[str, Any]) -> str:
    """Success rates of everyday prompts, and accuracy of the checks on real clips."""
    durations = verbs["durations"]
    rows = []
    for number, (prompt, tried) in enumerate(zip(verbs["prompts"], verbs["real"], strict=True)):
        shares = [rates["prompts"].get(str(number)) for rates in durations.values()]
        worst = ", ".join(f"{content} {share:.2f}" for content, share in tried["worst"])
        rows.append(
            [
                prompt,
                tried["check"].replace("_", " "),
                *("–" if s is None else f"{s:.2f}" for s in shares),
                f"{_share(tried['shown'])} of {tried['num_shown']}",
                _share(tried["others"]),
                _share(tried["all_others"]),
                worst,
            ]
        )
    headings = [
        "prompt",
        "check",
        *(f"done at {s} s" for s in durations),
        "yes on real",
        "no on others",
        "no on all others",
        "mistaken",
    ]
    overall = [[f"{s} s", cell({"done": rates["done"]}, "done", 3)] for s, rates in durations.items()]
    parts = ["### verbs: everyday prompts with geometric checks"]
    parts += [table(["duration", "share done"], overall)] if overall else []
    return "\n\n".join([*parts, table(headings, rows)])


def _scores_2d(scores: Mapping[str, Any]) -> str:
    """Table of real and generated motion compared in 2D."""
    rows = scores["rows"]
    columns = {name: heading for name, heading in HEADINGS.items() if any(name in row for row in rows.values())}
    body = [[row, *(_with_interval(values.get(name)) for name in columns)] for row, values in rows.items()]
    lines = [
        f"- {scores['set_size']} clips of {scores['set']}, {scores['repeats']} repeats, protocol {scores['protocol']}; "
        "± is the 95 % interval",
        f"- evaluator {scores['evaluator']} ({scores['features']}, sha256 {scores['evaluator_sha256'][:16]}); "
        f"generated motion is projected from {scores['seen_from']}",
        *(f"- {note}" for note in scores["notes"]),
    ]
    return "\n\n".join(["### In 2D", table(["", *columns.values()], body), "\n".join(lines)])


def _with_interval(value: Mapping[str, Any] | None) -> str:
    if value is None or value["mean"] is None:
        return "–"
    return f"{value['mean']:.3f}" + ("" if value["interval"] is None else f" ± {value['interval']:.3f}")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def listed_confusions(source: str, confusions: Sequence[Sequence[Any]], repeats: int) -> str:
    """The most frequent (wanted, predicted, count) as a sentence; empty if there are none."""
    if not confusions:
        return ""
    shown = ", ".join(f"{wanted} → {predicted} {count}" for wanted, predicted, count in confusions[:NUM_CONFUSIONS])
    total = sum(count for _, _, count in confusions)
    kinds = f", {NUM_CONFUSIONS} most frequent of {len(confusions)} pairs" if len(confusions) > NUM_CONFUSIONS else ""
    over = f" over {repeats} repeats" if repeats > 1 else ""
    return f"Wrong predictions, wanted → predicted ({source}, {total}{over}{kinds}): {shown}."


def cell(measures: Mapping[str, Any], name: str, digits: int, with_interval: bool = True) -> str:
    """A metric as text, with its interval if there is one; a dash if it is undefined."""
    value = measures[name]
    if value["mean"] is None:
        return "–"
    factor = 1000 if name in MILLIMETERS else 1
    text = f"{value['mean'] * factor:.{digits}f}"
    if with_interval and value["half_width"] is not None:
        text += f" ± {value['half_width'] * factor:.{digits}f}"
    return text


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

"""Evaluators: networks that embed motions and texts, with their statistics and frame rate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hmr4d.data.store import ClipStore
from hmr4d.evaluators.feature_kinds import FeatureKind, feature_kind
from hmr4d.evaluators.networks import ROWS_PER_TOKEN, MotionEncoder, MovementEncoder, TextEncoder
from hmr4d.evaluators.published import MATCHING_FILE, load_published
from hmr4d.evaluators.text_input import GloveInput, TextInput, TokenStateInput, WordBatch
from hmr4d.evaluators.word_vectorizer import WordVectorizer, word_classes
from hmr4d.representation.hml263 import load_statistics
from hmr4d.representation.variant_statistics import VariantStatistics
from hmr4d.utils.files import atomic_path, write_json
from hmr4d.utils.precision import exact_float32
from hmr4d.utils.releases import find_release_folder, release_folders
from hmr4d.utils.weights import DAMAGED, hash_weights, load_strictly, short_reason

FORMAT, VERSION = "hmr4d-evaluator", 1
CONFIG_NAME, WEIGHTS_NAME, STATISTICS_NAME = "evaluator.json", "evaluator.safetensors", "statistics.npz"
PUBLISHED_NAME, PUBLISHED_STATISTICS = "humanml3d", "hml263_evaluator"
BATCH = 128  # clips or texts per batch


@dataclass(frozen=True)
class EvaluatorRecipe:
    """Settings of an evaluator; the defaults are those of the published one.

    Attributes:
        name: name in cards and messages.
        variant: feature variant: "humanml3d" or "corrected_hips" (263 features of 3D motion), "coco17_image" or
            "coco17_person" (34 features of 2D keypoints).
        fps: frame rate of the features.
        min_rows, max_rows: range of feature rows per clip; every clip is padded to `max_rows`.
        text: "glove" (word vectors and word classes) or "tokens" (token states of a text encoder).
        text_encoder: name of the text encoder, for "tokens".
        text_dim: C of a word vector or token state.
        movement_hidden, movement_dim, motion_hidden, text_hidden: sizes of the networks.
        embed_dim: E of the embeddings.
    """

    name: str = PUBLISHED_NAME
    variant: str = "humanml3d"
    fps: float = 20.0
    min_rows: int = 40
    max_rows: int = 196
    text: str = "glove"
    text_encoder: str = ""
    text_dim: int = 300
    movement_hidden: int = 512
    movement_dim: int = 512
    motion_hidden: int = 1024
    text_hidden: int = 512
    embed_dim: int = 512

    def __post_init__(self) -> None:
        feature_kind(self.variant)
        if self.text not in ("glove", "tokens") or (self.text == "tokens") != bool(self.text_encoder):
            raise ValueError(
                f"Text side '{self.text}' with encoder '{self.text_encoder}'; expected 'glove' without an encoder, or "
                "'tokens' with the name of one."
            )
        if not ROWS_PER_TOKEN <= self.min_rows <= self.max_rows or self.max_rows % ROWS_PER_TOKEN:
            raise ValueError(
                f"Rows from {self.min_rows} to {self.max_rows}; expected {ROWS_PER_TOKEN} <= min_rows <= max_rows, and "
                f"max_rows a multiple of {ROWS_PER_TOKEN}."
            )

    @property
    def features(self) -> FeatureKind:
        """Representation of the feature rows."""
        return feature_kind(self.variant)

    @property
    def unit_length(self) -> int:
        """Feature rows per movement token."""
        return ROWS_PER_TOKEN

    @property
    def pos_dim(self) -> int:
        """Number of word classes of the text side."""
        return len(word_classes().index) if self.text == "glove" else 0


class EvaluatorNetworks(NamedTuple):
    """The three networks of an evaluator."""

    movement_encoder: MovementEncoder
    motion_encoder: MotionEncoder
    text_encoder: TextEncoder


def build_networks(recipe: EvaluatorRecipe) -> EvaluatorNetworks:
    """Untrained networks with the sizes of a recipe."""
    return EvaluatorNetworks(
        MovementEncoder(recipe.features.num_seen, recipe.movement_hidden, recipe.movement_dim),
        MotionEncoder(recipe.movement_dim, recipe.motion_hidden, recipe.embed_dim),
        TextEncoder(recipe.text_dim, recipe.pos_dim, recipe.text_hidden, recipe.embed_dim),
    )


def empty_networks(recipe: EvaluatorRecipe) -> EvaluatorNetworks:
    """Networks without initialized parameters, for loading."""
    with torch.device("meta"):
        networks = build_networks(recipe)
    for network in networks:
        network.to_empty(device="cpu")
    return networks


class Evaluator(nn.Module):
    """Embeds motions and texts in evaluation mode, without gradients, in float32.

    Args:
        recipe: settings.
        statistics: normalization statistics of its training.
        networks: trained networks; None: untrained ones.
        text_input: converter of captions to network input; not needed for token states, where the recipe determines it.

    Raises:
        ValueError: recipe, statistics and text input do not match.
    """

    def __init__(
        self,
        recipe: EvaluatorRecipe,
        statistics: VariantStatistics,
        *,
        networks: EvaluatorNetworks | None = None,
        text_input: TextInput | None = None,
    ) -> None:
        super().__init__()
        if (statistics.variant, statistics.fps) != (recipe.variant, recipe.fps):
            raise ValueError(
                f"Evaluator '{recipe.name}' needs statistics of variant '{recipe.variant}' at {recipe.fps:g} fps; got "
                f"'{statistics.variant}' at {statistics.fps:g} fps. Use the statistics it was trained with."
            )
        if text_input is None and recipe.text == "tokens":
            text_input = TokenStateInput(recipe.text_encoder, recipe.text_dim)
        if text_input is not None and text_input.dim != recipe.text_dim:
            raise ValueError(
                f"Evaluator '{recipe.name}' needs words of {recipe.text_dim} dimensions; the text input has "
                f"{text_input.dim}. Use the word vectors or the text encoder it was trained with."
            )
        self.recipe, self.statistics, self.text_input = recipe, statistics, text_input
        self.movement_encoder, self.motion_encoder, self.text_encoder = networks or build_networks(recipe)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Evaluator:
        """Keeps evaluation mode, whatever the trainer requests."""
        del mode
        return super().train(False)

    @property
    def weights_hash(self) -> str:
        """SHA-256 of all parameters."""
        return hash_weights(self.state_dict())

    @property
    def statistics_hash(self) -> str:
        """SHA-256 of the statistics."""
        return self.statistics.hash

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def use_text_cache(self, store: ClipStore) -> bool:
        """Uses cached token states of the store's captions; returns False if the store has none for this evaluator."""
        return isinstance(self.text_input, TokenStateInput) and self.text_input.use_cache(store)

    @torch.no_grad()
    def embed_motions(self, features: Tensor, num_rows: Tensor, *, padded_rows: int | None = None) -> Tensor:
        """Embeddings of motions.

        Padding affects the result, because rows after the end of a clip contribute to its last token.

        Args:
            features: (B, max_rows, D), normalized with the evaluator's statistics, then padded.
            num_rows: (B,) rows of each clip; rows beyond a multiple of 4 belong to no token.
            padded_rows: rows of the padded tensor, if a protocol differs from the recipe's `max_rows`.

        Returns:
            (B, E) in the order of the input.

        Raises:
            ValueError: the shape is different, a value is not finite, or a clip is shorter than one token or longer
                than the tensor.
        """
        wanted = (padded_rows or self.recipe.max_rows, self.recipe.features.num_features)
        if features.ndim != 3 or features.shape[1:] != wanted or num_rows.shape != features.shape[:1]:
            raise ValueError(
                f"Evaluator '{self.recipe.name}' needs features (B, {wanted[0]}, {wanted[1]}) and num_rows (B,); got "
                f"{tuple(features.shape)} and {tuple(num_rows.shape)}. Normalize and pad according to its recipe."
            )
        if len(num_rows) and not ROWS_PER_TOKEN <= int(num_rows.min()) <= int(num_rows.max()) <= wanted[0]:
            raise ValueError(
                f"Clips of {int(num_rows.min())} to {int(num_rows.max())} feature rows; evaluator '{self.recipe.name}' "
                f"needs {ROWS_PER_TOKEN} to {wanted[0]}. Exclude or cut the others."
            )
        if not bool(features.isfinite().all()):
            bad = (~features.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
            raise ValueError(f"Features of {len(bad)} clip(s), first number {bad[0]}, are not finite; exclude them.")
        out = [features.new_zeros(0, self.recipe.embed_dim).to(self.device)]
        with exact_float32(self.device.type):
            for start in range(0, len(features), BATCH):
                rows = features[start : start + BATCH, :, : self.recipe.features.num_seen].to(
                    self.device, torch.float32
                )
                count = num_rows[start : start + BATCH] // ROWS_PER_TOKEN
                out.append(self.motion_encoder(self.movement_encoder(rows), count))
        return torch.cat(out)

    @torch.no_grad()
    def embed_words(self, words: WordBatch) -> Tensor:
        """Embeddings (B, E) of converted captions, in the order of the input."""
        pos_onehot = None if words.pos_onehot is None else words.pos_onehot.to(self.device, torch.float32)
        with exact_float32(self.device.type):
            return self.text_encoder(words.words.to(self.device, torch.float32), words.lengths, pos_onehot)

    def embed_texts(self, texts: Sequence[str], tokens: Sequence[str] | None = None) -> Tensor:
        """Embeddings of captions.

        Args:
            texts: B captions.
            tokens: "word/POS word/POS" of each caption; required for GloVe only.

        Returns:
            (B, E) in the order of the input.

        Raises:
            ValueError: GloVe tokens or word vectors are missing.
        """
        if self.text_input is None:
            raise ValueError(
                f"Evaluator '{self.recipe.name}' needs GloVe word vectors and was created without them; pass "
                "the folder with our_vab_data.npy, our_vab_words.pkl and our_vab_idx.pkl."
            )
        out = [torch.zeros(0, self.recipe.embed_dim, device=self.device)]
        for start in range(0, len(texts), BATCH):
            part = slice(start, start + BATCH)
            out.append(self.embed_words(self.text_input(texts[part], None if tokens is None else tokens[part])))
        return torch.cat(out)

    def save(
        self, folder: str | Path, *, about: Mapping[str, Any] | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        """Writes weights, recipe and statistics.

        Args:
            folder: folder; created if necessary.
            about: JSON object with metadata: data, licence, command, hardware.
            dtype: data type of the saved weights.
        """
        folder = Path(folder)
        weights = {k: v.detach().cpu().to(dtype).contiguous() for k, v in self.state_dict().items()}
        with atomic_path(folder / WEIGHTS_NAME) as path:
            save_file(weights, path, metadata={"format": f"{FORMAT} {VERSION}"})
        with atomic_path(folder / STATISTICS_NAME) as path:
            self.statistics.save(path)
        config = {
            "format": FORMAT,
            "version": VERSION,
            "recipe": asdict(self.recipe),
            "weights_hash": hash_weights(weights),
            "statistics_hash": self.statistics_hash,
            "about": dict(about or {}),
        }
        write_json(folder / CONFIG_NAME, config)

    @classmethod
    def load(cls, folder: str | Path, *, glove_folder: str | Path | None = None) -> Evaluator:
        """Loads a saved evaluator to the CPU.

        Args:
            folder: folder written by `save`.
            glove_folder: folder of GloVe word vectors; None: not needed.

        Raises:
            FileNotFoundError: files are missing; the message names all.
            ValueError: a file is damaged, or weights, statistics and recipe do not match.
        """
        folder = Path(folder)
        names = (CONFIG_NAME, WEIGHTS_NAME, STATISTICS_NAME)
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise FileNotFoundError(f"No evaluator in {folder}: {', '.join(missing)} missing. Restore the folder.")
        try:
            config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
            if (config["format"], config["version"]) != (FORMAT, VERSION):
                raise ValueError(f"it is {config['format']!r} version {config['version']!r}")
            recipe = EvaluatorRecipe(**config["recipe"])
            hashes = config["weights_hash"], config["statistics_hash"]
            weights = {k: v.float() for k, v in load_file(folder / WEIGHTS_NAME).items()}
        except DAMAGED as error:
            raise ValueError(
                f"{folder} contains no readable evaluator ({short_reason(error)}). Expected {FORMAT} version "
                f"{VERSION}; "
                "restore the folder."
            ) from error
        statistics = recipe.features.statistics.load(folder / STATISTICS_NAME)
        for what, digest, wanted in zip(
            ("weights", "statistics"), (hash_weights(weights), statistics.hash), hashes, strict=True
        ):
            if digest != wanted:
                raise ValueError(
                    f"The {what} in {folder} are not those of evaluator '{recipe.name}' (hash {digest[:12]}, expected "
                    f"{wanted[:12]}). Restore the folder; weights, statistics and {CONFIG_NAME} must match."
                )
        glove = None if glove_folder is None or recipe.text != "glove" else GloveInput(WordVectorizer(glove_folder))
        evaluator = cls(recipe, statistics, networks=empty_networks(recipe), text_input=glove)
        load_strictly(evaluator, weights, (), source=str(folder / WEIGHTS_NAME))
        return evaluator


def load_published_evaluator(t2m_folder: str | Path, glove_folder: str | Path | None) -> Evaluator:
    """Loads the published HumanML3D evaluator.

    Args:
        t2m_folder: folder with text_mot_match/model/finest.tar.
        glove_folder: folder with our_vab_data.npy, our_vab_words.pkl and our_vab_idx.pkl; None: texts are not embedded.

    Raises:
        FileNotFoundError: files are missing.
        ValueError: a file is damaged or does not match.
    """
    networks = empty_networks(EvaluatorRecipe())
    load_published(Path(t2m_folder) / MATCHING_FILE, networks._asdict())
    text_input = None if glove_folder is None else GloveInput(WordVectorizer(glove_folder))
    statistics = load_statistics(PUBLISHED_STATISTICS)
    return Evaluator(EvaluatorRecipe(), statistics, networks=networks, text_input=text_input)


def load_evaluator(name_or_folder: str | Path, *, glove_folder: str | Path | None = None) -> Evaluator:
    """Loads an evaluator by name or folder.

    Args:
        name_or_folder: "humanml3d" for the published one below inputs/checkpoints/t2m; the name of a released one, such
            as "evaluator-bandai"; or a folder of either type.
        glove_folder: folder of GloVe word vectors; None: inputs/checkpoints/glove.

    Raises:
        FileNotFoundError: the evaluator or some of its files are missing.
        ValueError: a file is damaged or does not match the others.
    """
    checkpoints = release_folders()[0].parent
    glove_folder = glove_folder or checkpoints / "glove"
    folder = checkpoints / "t2m" if name_or_folder == PUBLISHED_NAME else Path(name_or_folder)
    if name_or_folder == PUBLISHED_NAME or (folder / MATCHING_FILE).is_file():
        return load_published_evaluator(folder, glove_folder)
    wanted = f"{CONFIG_NAME}, {WEIGHTS_NAME} and {STATISTICS_NAME}, '{PUBLISHED_NAME}' for the published one"
    folder = find_release_folder(folder, kind="evaluator", marker=CONFIG_NAME, wanted=wanted)
    return Evaluator.load(folder, glove_folder=glove_folder)

"""Networks and pipelines of the published layout, for comparison with golden vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from torch import Tensor, nn

from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.methods.motion2to3.denoiser import MotionDenoiser
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline, SamplingOptions, TrainingOptions
from hmr4d.methods.motion2to3.published_weights import translate, translate_key
from hmr4d.nn.text import TextFeatures
from hmr4d.representation.motion2d import Motion2DCodec
from tests.golden.vectors import has_golden_file, read_json, recipe, tensors, token_mask

NUM_HEADS = 4  # the one number of a network that its weights do not tell


def _layers(keys: Iterable[str]) -> int:
    return 1 + max(int(key.split(".")[2]) for key in keys if key.startswith("seqTrans"))


def build_denoiser(weights: Mapping[str, Tensor]) -> MotionDenoiser:
    """Network of the layout that published weights imply, filled with them, evaluation mode."""
    layer = next(key for key in weights if key.startswith("seqTrans")).rsplit(".layers.", 1)[0] + ".layers.0"
    dim, num_features = weights["input_process.poseEmbedding.weight"].shape
    denoiser = MotionDenoiser(
        num_features=num_features,
        text_dim=weights["embed_text.weight"].shape[1],
        dim=dim,
        ff_dim=weights[f"{layer}.linear1.weight"].shape[0],
        num_layers=_layers(weights),
        num_heads=NUM_HEADS,
        dropout=0.0,
        text_mode="pooled" if layer.startswith("seqTransEncoder") else "tokens",
        cam_dim=weights["embed_cam.weight"].shape[1] if "embed_cam.weight" in weights else 0,
        use_views=any(".mv_attn." in key for key in weights),
        separate_root_head="root_process.poseFinal.weight" in weights,
        use_condition2d="embed_cond2d.weight" in weights,
    )
    denoiser.load_state_dict(translate(weights))
    return denoiser.eval()


class Sizes(NamedTuple):
    """Widths of a network."""

    dim: int
    ff_dim: int
    text_dim: int
    num_features: int


REAL = Sizes(dim=512, ff_dim=1024, text_dim=512, num_features=44)
SMALL = Sizes(dim=64, ff_dim=128, text_dim=32, num_features=44)
SMALL_LAYERS = 2


def sizes_of(weights: Mapping[str, Tensor]) -> Sizes:
    dim, num_features = weights["input_process.poseEmbedding.weight"].shape
    ff_dim = next(value.shape[0] for key, value in weights.items() if key.endswith("linear1.weight"))
    return Sizes(dim, ff_dim, weights["embed_text.weight"].shape[1], num_features)


def expected_shapes(keys: Iterable[str], sizes: Sizes, cam_dim: int) -> dict[str, tuple[int, ...]]:
    """Shapes of published parameters by name."""
    dim, ff_dim, text_dim, num_features = sizes
    special = {
        "input_process.poseEmbedding.weight": (dim, num_features),
        "embed_text.weight": (dim, text_dim),
        "embed_cam.weight": (dim, cam_dim),
        "output_process.poseFinal.weight": (num_features, dim),
        "output_process.poseFinal.bias": (num_features,),
        "root_process.poseFinal.weight": (2, dim),
        "root_process.poseFinal.bias": (2,),
    }
    endings = {
        "in_proj_weight": (3 * dim, dim),
        "in_proj_bias": (3 * dim,),
        "linear1.weight": (ff_dim, dim),
        "linear1.bias": (ff_dim,),
        "linear2.weight": (dim, ff_dim),
    }

    def shape(key: str) -> tuple[int, ...]:
        if key in special:
            return special[key]
        for ending, value in endings.items():
            if key.endswith(ending):
                return value
        return (dim,) if key.endswith("bias") or "norm" in key else (dim, dim)

    return {key: shape(key) for key in keys}


def recipe_weights(variant: str, sizes: Sizes, cam_dim: int = 0) -> dict[str, Tensor]:
    """Weights of a variant that the vectors describe by names and sums of absolute values only."""
    keys = read_json("motion2to3/weights_recipe_abs_sums.json")[variant]
    return {key: recipe(key, shape) for key, shape in expected_shapes(keys, sizes, cam_dim).items()}


def small_weights(kind: str) -> dict[str, Tensor]:
    """Small weights, kind "2d" or "mv": from their file, or by the recipe where there is no file."""
    name = f"weights_small_{kind}.npz"
    if has_golden_file(f"motion2to3/{name}"):
        return tensors(name)
    keys = read_json("motion2to3/weights_recipe_abs_sums.json")[f"real_{kind}"]
    kept = [key for key in keys if not key.startswith("seqTrans") or int(key.split(".")[2]) < SMALL_LAYERS]
    shapes = expected_shapes(kept, SMALL, cam_dim=5 if kind == "mv" else 0)
    return {key: recipe(key, shape) for key, shape in shapes.items()}


@lru_cache(maxsize=2)
def state_dict_layout(kind: str) -> dict[str, dict]:
    """Published keys with shape and flags; kind "2d" or "mv"."""
    return read_json(f"motion2to3_state_dict_{kind}.json")["state_dict"]


@lru_cache(maxsize=1)
def real_weights() -> dict[str, Tensor]:
    """Full-size multi-view weights by the recipe."""
    return recipe_weights("real_mv", REAL, cam_dim=5)


def real_weights_2d() -> dict[str, Tensor]:
    """The single-view network has a part of the parameters of the multi-view one, with the same values."""
    keys = read_json("motion2to3/weights_recipe_abs_sums.json")["real_2d"]
    return {key: real_weights()[key] for key in keys}


def small_pipeline(
    kind: str, sampling: SamplingOptions | None = None, training: TrainingOptions | None = None
) -> Motion2to3Pipeline:
    """Pipeline around the small published weights, kind "2d" or "mv", as the vectors were made."""
    denoiser = build_denoiser(small_weights(kind))
    return Motion2to3Pipeline(
        denoiser, Motion2DCodec("all_200h_nr"), NoiseSchedule(100), sampling=sampling, training=training
    )


def text_features(tokens: Tensor, counts: Tensor) -> TextFeatures:
    """Token states (B, M, C) with counts (B,); the pooled vector is not used by these networks."""
    return TextFeatures(tokens, token_mask(counts, tokens.shape[1]), tokens.new_zeros(len(tokens), tokens.shape[2]))


def ours(module: nn.Module, published_key: str) -> Tensor:
    """Our parameter of a published name."""
    return dict(module.named_parameters())[translate_key(published_key)]

"""Networks, quantisers, sampling, body, projection and losses of K2M against golden vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hmr4d.body.keypoint_body import Bulge, KeypointBody, _mixed_rows
from hmr4d.body.pose_limits import PoseLimits
from hmr4d.evaluators.motion_critic import MotionCritic, critic_input
from hmr4d.evaluators.networks import MotionEncoder, MovementEncoder, TextEncoder
from hmr4d.evaluators.published import translate as translate_evaluator
from hmr4d.geometry.rotations import rot6d_cols_to_matrix, rotvec_to_matrix
from hmr4d.masked_modeling.masks import cosine_schedule, keep_likely, residual_layers, token_loss
from hmr4d.masked_modeling.sampling import TokenSampling, guided, sample_layers, sample_masked
from hmr4d.methods.k2m import transformers
from hmr4d.methods.k2m.losses import Drawn, LossOptions, LossWeights, Observed, loss_terms, weighted
from hmr4d.methods.k2m.projection import project
from hmr4d.nn.conv_stack import ConvDecoder, ConvEncoder
from hmr4d.nn.dstformer import DSTformer, translate_published
from hmr4d.nn.residual_vq import ResidualQuantizer
from hmr4d.utils.weights import load_strictly
from tests.golden.vectors import assert_close, golden_file, golden_root

NETWORK, LOGITS, HALF = 1e-4, 2e-3, 1e-2  # tolerances that the README of the vectors names
GREEDY = 1e-8  # temperature


def files(pattern: str) -> list[str]:
    """Names, without ending, of the vectors that match; "none" so that a test that finds none is skipped by name."""
    root = golden_root()
    found = sorted(p.stem for p in (root / "k2m").glob(f"{pattern}.npz")) if root is not None else []
    return found or ["none"]


def arrays(name: str) -> dict[str, Tensor]:
    with np.load(golden_file(f"k2m/{name}.npz"), allow_pickle=False) as data:
        whole = {key: np.array(data[key]) for key in data.files}
    return {k: torch.from_numpy(v.astype(np.int64) if v.dtype.kind in "iu" else v) for k, v in whole.items()}


def recipe(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and seeded weights of a model, by the recipe of the README."""
    table = json.loads(Path(golden_file(f"k2m/keys_{name}.json")).read_text("utf-8"))
    state = np.random.RandomState(table["seed"])
    weights = {}
    for entry in table["keys"]:
        if (fill := entry["fill"]) is not None:
            value = state.standard_normal(entry["shape"]) * fill["scale"] + fill["add"]
            weights[entry["key"]] = torch.from_numpy(value.astype(np.float32))
    return table["config"], weights


def part(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def filled(network: nn.Module, weights: dict[str, Tensor]) -> Any:
    load_strictly(network, weights, (), source="golden weights")
    return network.eval()


def quantizer_of(weights: dict[str, Tensor], num_layers: int, num_codes: int, dim: int) -> ResidualQuantizer:
    quantizer = ResidualQuantizer(num_layers, num_codes, dim)
    for layer, number in zip(quantizer.codebooks(), range(num_layers), strict=True):
        layer.codebook.copy_(weights[f"layers.{number}.codebook"])
        layer.initialized.fill_(True)
    return quantizer.eval()


@pytest.mark.parametrize("name", files("ema_quantizer_*"))
def test_codebook_follows_the_data(name: str) -> None:
    golden = arrays(name)
    num_codes, dim = golden["codebook0"].shape
    quantizer = ResidualQuantizer(1, num_codes, dim, temperature=0.0, dropout=0.0)
    book = quantizer.codebooks()[0]
    steps = [k.removeprefix("codebook") for k in golden if k.startswith("codebook")]
    for step in [*steps, "_eval"]:
        quantizer.train(step != "_eval")
        x = golden[f"x{step}"]
        before = x.clone()
        result = quantizer(x)
        assert torch.equal(x, before)
        assert torch.equal(result.indices[..., 0], golden[f"idx{step}"])
        assert_close(f"{name} out", result.latent, golden[f"out{step}"], NETWORK)
        assert_close(f"{name} commitment", result.commitment, golden[f"commit{step}"], NETWORK)
        assert_close(f"{name} perplexity", result.perplexity[0], golden[f"perp{step}"], NETWORK)
        if step != "_eval":
            for ours in ("codebook", "code_sum", "code_count"):
                assert_close(f"{name} {ours}", getattr(book, ours), golden[f"{ours}{step}"], NETWORK)


@pytest.mark.parametrize("name", files("rvq_*"))
def test_residual_quantizer(name: str) -> None:
    golden, (config, weights) = arrays(name), recipe(name)
    quantizer = quantizer_of(weights, config["num_quantizers"], config["nb_code"], config["code_dim"])
    x = golden["x"].clone().requires_grad_()
    result = quantizer(x)
    assert torch.equal(result.indices, golden["idx"])
    assert_close(f"{name} out", result.latent.detach(), golden["out"], NETWORK)
    assert_close(f"{name} loss", result.commitment.detach(), golden["loss"], NETWORK)
    assert_close(f"{name} perplexity", result.perplexity.mean(), golden["perp"], NETWORK)
    (grad,) = torch.autograd.grad((result.latent * golden["w"]).sum(), x, retain_graph=True)
    assert_close(f"{name} gradient", grad, golden["grad_out_w"], NETWORK)
    (grad,) = torch.autograd.grad(result.commitment, x)
    assert_close(f"{name} gradient of the loss", grad, golden["grad_commit"], NETWORK)
    fewer = quantizer(golden["x"], num_active=int(golden["drop_index"]) + 1)
    assert torch.equal(fewer.indices, golden["idx_drop"])
    assert_close(f"{name} dropped out", fewer.latent, golden["out_drop"], NETWORK)
    assert_close(f"{name} dropped loss", fewer.commitment, golden["loss_drop"], NETWORK)
    assert_close(f"{name} decoded", quantizer.decode(golden["idx"]), golden["latent_from_idx"], NETWORK)
    codes = quantizer.decode(golden["idx_with_neg"]).mT
    assert_close(f"{name} codes", codes, golden["codes_from_idx_sum"], NETWORK)


def conv_options(config: dict[str, Any]) -> dict[str, Any]:
    assert config["stride_t"] == 2
    return {
        "width": config["width"],
        "depth": config["depth"],
        "dilation_growth": config["dilation_growth_rate"],
        "activation": config.get("activation", "relu"),
        "norm": config.get("norm"),
    }


@pytest.mark.parametrize("name", files("encdec_*"))
@torch.no_grad()
def test_encoder_and_decoder(name: str) -> None:
    golden, (config, weights) = arrays(name), recipe(name)
    options = conv_options(config)
    encoder = ConvEncoder(config["in_width"], config["emb"], down=config["down_t"], **options)
    decoder = ConvDecoder(config["emb"], config["out_width"], up=config["down_t"], **options)
    filled(encoder, part(weights, "encoder."))
    filled(decoder, part(weights, "decoder."))
    assert_close(f"{name} encoder", encoder(golden["x"]), golden["z"], NETWORK)
    assert_close(f"{name} decoder", decoder(golden["dec_in"]), golden["dec_out"], NETWORK)


@pytest.mark.parametrize("name", files("rvqvae_*"))
@torch.no_grad()
def test_whole_autoencoder(name: str) -> None:
    golden, (config, weights) = arrays(name), recipe(name)
    options = conv_options(config)
    encoder = ConvEncoder(config["input_width"], config["code_dim"], down=config["down_t"], **options)
    decoder = ConvDecoder(config["code_dim"], config["input_width"], up=config["down_t"], **options)
    filled(encoder, part(weights, "encoder."))
    filled(decoder, part(weights, "decoder."))
    codebooks = part(weights, "quantizer.")
    quantizer = quantizer_of(codebooks, config["num_quantizers"], config["nb_code"], config["code_dim"])
    latent = encoder(golden["x"].mT)
    assert_close(f"{name} latent", latent, golden["latent"], 2e-4)
    result = quantizer(latent)
    assert torch.equal(result.indices, golden["idx"])
    assert_close(f"{name} out", decoder(result.latent), golden["out"], 2e-4)
    assert_close(f"{name} commitment", result.commitment, golden["commit"], 2e-4)
    assert_close(f"{name} perplexity", result.perplexity.mean(), golden["perp"], 2e-4)
    assert_close(f"{name} from ids", decoder(quantizer.decode(golden["idx"])), golden["dec_from_idx"], 2e-4)


@pytest.mark.parametrize("name", files("length_estimator*"))
@torch.no_grad()
def test_length_estimator(name: str) -> None:
    golden, (config, weights) = arrays(name), recipe(name)
    network = filled(transformers.PooledLengthEstimator(config["input"], config["classes"]), weights)
    assert_close(name, network(golden["x"]), golden["logits"], NETWORK)


def transformer_options(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "num_tokens": config["num_tokens"],
        "token_dim": config["code_dim"],
        "text_dim": config["clip_dim"],
        "dim": config["latent_dim"],
        "num_layers": config["num_layers"],
        "num_heads": config["num_heads"],
        "hidden_dim": config["ff_size"],
    }


def generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(count)]


@pytest.mark.parametrize("name", files("mask_transformer_*"))
@torch.no_grad()
def test_masked_transformer(name: str) -> None:
    golden, (config, weights) = arrays(name), recipe(name)
    network = transformers.MaskedTransformer(**transformer_options(config))
    filled(network, transformers.translate_published(weights))
    text, ids, scale = golden["cond"], golden["ids_in"], config["cond_scale"]
    valid = torch.arange(ids.shape[1]) < golden["lens"][:, None]

    def logits(ids: Tensor, scale: float = scale, valid: Tensor = valid) -> Tensor:
        blank = torch.zeros_like(text)
        return guided(scale, lambda: network(ids, text, valid), lambda: network(ids, blank, valid))

    shown = valid[:, None]
    for key, weight in {"cond": 1.0, "uncond": 0.0, "scaled": scale}.items():
        rows = len(golden[f"logits_{key}"])
        difference = (logits(ids, weight)[:rows] - golden[f"logits_{key}"]) * shown[:rows]
        assert_close(f"{name} logits {key}", difference, torch.zeros_like(difference), LOGITS)
    loss, accuracy = token_loss(logits(ids, 1.0), golden["labels"], ignore=network.mask_id)
    assert_close(f"{name} loss", loss, golden["loss"], LOGITS)
    assert_close(f"{name} accuracy", accuracy, golden["acc"], LOGITS)
    fed: list[Tensor] = []

    def watched(ids: Tensor) -> Tensor:
        fed.append(ids)
        return logits(ids)

    options = TokenSampling(config["timesteps"], scale, config["topk"], GREEDY)
    made = sample_masked(
        watched,
        golden["lens"],
        generators(len(text)),
        mask_id=network.mask_id,
        pad_id=network.pad_id,
        options=options,
    )
    assert torch.equal(torch.stack(fed), golden["gen_steps"])
    assert torch.equal(made, golden["gen_ids"])


@pytest.mark.parametrize("name", files("residual_transformer_*"))
@torch.no_grad()
def test_residual_transformer(name: str) -> None:
    golden, (config, weights) = arrays(name), recipe(name)
    network = transformers.ResidualTransformer(
        **transformer_options(config),
        num_quantizers=config["num_quantizers"],
        share_weights=config["share_weight"],
        fix_output_bias=False,
    )
    filled(network, transformers.translate_published(weights))
    text, ids, layers = golden["cond"], golden["idx"], golden["active_q"]
    valid = torch.arange(ids.shape[1]) < golden["lens"][:, None]
    logits = network(ids, layers, text, valid)
    is_half = golden["logits"].dtype == torch.float16
    difference = (logits - golden["logits"].float()) * valid[:, None]
    assert_close(f"{name} logits", difference, torch.zeros_like(difference), HALF if is_half else LOGITS)
    targets = torch.where(valid, ids[torch.arange(len(ids)), :, layers], network.pad_id)
    loss, accuracy = token_loss(logits, targets, ignore=network.pad_id)
    assert_close(f"{name} loss", loss, golden["loss"], LOGITS)
    assert_close(f"{name} accuracy", accuracy, golden["acc"], LOGITS)

    def logits_of(ids: Tensor, layer: int) -> Tensor:
        blank = torch.zeros_like(text)
        return guided(
            config["cond_scale"], lambda: network(ids, layer, text, valid), lambda: network(ids, layer, blank, valid)
        )

    first = torch.where(valid, golden["base_ids"], -1)
    made = sample_layers(
        logits_of,
        first,
        generators(len(text)),
        num_layers=config["num_quantizers"],
        pad_id=network.pad_id,
        options=TokenSampling(1, config["cond_scale"], 0.9, GREEDY),
        may_pad=True,
    )
    assert torch.equal(made[valid], golden["gen_ids"][valid])


def test_masking_functions() -> None:
    golden = arrays("transformer_functions")
    assert_close("cosine schedule", cosine_schedule(golden["t"]), golden["cosine"], 1e-5)
    assert torch.equal(residual_layers(golden["q_noise"], 6), golden["q_layers"])
    kept = keep_likely(golden["logits"], 0.9)
    assert torch.equal(kept.isfinite(), golden["topk"].isfinite())
    assert_close("likely classes", kept.nan_to_num(neginf=0), golden["topk"].nan_to_num(neginf=0), 1e-5)
    for key, smoothing in {"ce": 0.0, "ce_smooth": 0.1}.items():
        loss = token_loss(golden["logits"], golden["labels"], ignore=7, smoothing=smoothing)[0]
        assert_close(f"token loss {key}", loss, golden[key], 1e-5)


@pytest.mark.parametrize("name", files("dstformer_*"))
@torch.no_grad()
def test_dstformer(name: str) -> None:
    golden, (config, weights) = arrays(name), recipe(name)
    network = DSTformer(
        dim_in=config["dim_in"],
        num_joints=config["num_joints"],
        dim_feat=config["dim_feat"],
        dim_rep=config["dim_rep"],
        depth=config["depth"],
        num_heads=config["num_heads"],
        mlp_ratio=config["mlp_ratio"],
        max_length=config["maxlen"],
        dim_out=config["dim_out"],
    )
    filled(network, translate_published(weights))
    rep = network(golden["x"])
    assert network.head is not None
    assert_close(f"{name} representation", rep, golden["rep"], NETWORK)
    assert_close(f"{name} head", network.head(rep), golden["out"], NETWORK)


@pytest.mark.parametrize("name", files("motion_critic_[!i]*"))
@torch.no_grad()
def test_motion_critic(name: str) -> None:
    golden, (config, weights) = arrays(name), recipe(name)
    critic = MotionCritic(
        dim_feat=config["dim_feat"],
        dim_rep=config["dim_rep"],
        depth=config["depth"],
        num_heads=config["num_heads"],
        mlp_ratio=config["mlp_ratio"],
        max_length=config["maxlen"],
        num_rows=config["num_joints"],
    )
    filled(critic, translate_published(weights))
    scores = critic(golden["motion"])
    assert_close(f"{name} scores", scores[:, None], golden["scores"], NETWORK)


def test_motion_critic_input() -> None:
    """The published input is not relative to the first frame, and takes roots of differences of float32 numbers,
    which costs up to 1e-3 rad at small angles."""
    golden = arrays("motion_critic_input")
    frames = golden["rot6d"].permute(0, 3, 1, 2)  # (B, F, 25, 6): first two rows of each matrix, then the translation
    rotations = rot6d_cols_to_matrix(frames[:, :, :-1]).mT
    got, expected = critic_input(rotations, frames[:, :, -1, :3]), golden["critic_in"]
    expected = torch.cat([expected[:, :, :-1], expected[:, :, -1:] - expected[:, :1, -1:]], 2)
    assert_close("critic input", got, expected, 1e-3)


@torch.no_grad()
def test_evaluator_of_2d_features() -> None:
    golden, (config, weights) = arrays("evaluator_small"), recipe("evaluator_small")
    movement = MovementEncoder(config["dim_pose_in"], config["dim_movement_enc_hidden"], config["dim_movement_latent"])
    motion = MotionEncoder(config["dim_movement_latent"], config["dim_motion_hidden"], config["dim_coemb"])
    text = TextEncoder(config["dim_word"], config["dim_pos"], config["dim_text_hidden"], config["dim_coemb"])
    for network, prefix in ((movement, "movement_encoder."), (motion, "motion_encoder."), (text, "text_encoder.")):
        filled(network, translate_evaluator(part(weights, prefix), type(network)))
    tokens = movement(golden["motion"])
    assert_close("evaluator movement", tokens, golden["movement"], NETWORK)
    assert_close("evaluator motion", motion(tokens, golden["m_lens"] // 4), golden["motion_emb"], NETWORK)
    onehot = nn.functional.one_hot(golden["pos"], config["dim_pos"]).float()
    assert_close("evaluator text", text(golden["word"], golden["cap_lens"], onehot), golden["text_emb"], NETWORK)


def toy_body(golden: dict[str, Tensor], config: dict[str, Any], mixing: Tensor, chosen: list[int]) -> KeypointBody:
    """The toy body with keypoints mixed from chosen vertices, then the joints of the configuration."""
    joint_rows = config["joint_ids"] if len(chosen) < 64 else []
    regressor, weights = golden["J_regressor"], golden["lbs_weights"][chosen]
    joints, directions = regressor @ golden["v_template"], golden["shapedirs"]
    joint_directions = torch.einsum("jv,vcs->jcs", regressor, directions)
    rows = _mixed_rows(golden["v_template"][chosen], joints, weights, mixing, joint_rows, at_rest=1.0)
    changes = [
        _mixed_rows(directions[chosen, :, s], joint_directions[..., s], weights, mixing, joint_rows, at_rest=0.0)
        for s in range(directions.shape[-1])
    ]
    padded = torch.cat([mixing, mixing.new_zeros(len(joint_rows), len(chosen))])
    bulge = Bulge(golden["posedirs"].unflatten(-1, (-1, 3))[:, chosen], weights, padded)
    parents = tuple(int(p) for p in golden["parents"])
    return KeypointBody("toy", "none", parents, joints, joint_directions, rows, torch.stack(changes), bulge)


def published_rotations(pose: Tensor) -> Tensor:
    """Matrices of axis-angles (..., 3) as the published skinning has them: 1e-8 is added before the norm."""
    angle = (pose + 1e-8).norm(dim=-1)[..., None, None]
    x, y, z = (pose / angle[..., 0]).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.eye(3).to(pose) + angle.sin() * cross + (1 - angle.cos()) * cross @ cross


def test_body_projection_and_losses() -> None:
    golden = arrays("lbs_projection_losses_toy")
    config = json.loads(golden_file("k2m/index.json").read_text("utf-8"))["lbs_projection_losses_toy"]["config"]
    clips, frames = golden["transl"].shape[:2]
    pose = golden["pose"].unflatten(-1, (24, 3))
    rotations, betas, place = published_rotations(pose), golden["betas"], golden["transl"].flatten(0, 1)
    assert_close("rotations", rotvec_to_matrix(pose), rotations, 1e-7)
    every, face = list(range(config["V"])), config["vertex_ids_face"]
    joints, vertices = toy_body(golden, config, torch.eye(len(every)).double(), every)(betas, rotations, place)
    assert_close("toy joints", joints, golden["joints"], 1e-8)
    assert_close("toy vertices", vertices, golden["vertices"], 1e-8)
    body = toy_body(golden, config, torch.eye(len(face)).double(), face)
    coco = body(betas, rotations, place)[1].unflatten(0, (clips, frames))
    assert_close("toy keypoints", coco, golden["coco3d"], 1e-8)
    pixels, valid = project(golden["coco3d"], golden["WH"], focal=config["f"])
    assert torch.equal(valid, golden["valid"])
    assert_close("toy pixels", pixels, golden["uv"], 1e-8)
    drawn = Drawn(
        pixels,
        valid,
        pose[:, 1:].flatten(1).unflatten(0, (clips, frames)),
        betas.unflatten(0, (clips, frames)),
        rotations[:, 0].unflatten(0, (clips, frames)),
        golden["transl"],
        golden["transl"][..., None, :],
    )
    observed = Observed(golden["true"], golden["conf"], torch.arange(frames) < golden["lens"][:, None])
    options = LossOptions(min_conf=config["conf_threshold"], tau=config["tau"])
    terms = loss_terms(drawn, observed, PoseLimits(golden["pose_min"], golden["pose_max"]), options)
    for name in ("rec", "vel", "smooth", "boundary", "pose", "shape"):
        assert_close(f"toy loss {name}", terms[name], golden[f"loss_{name}"], 1e-8)
    terms["rvq"] = torch.tensor(config["rvq_loss"], dtype=torch.float64)
    total = weighted(terms, LossWeights(**config["lambdas"]))["loss"]
    assert_close("toy loss total", total, golden["loss_total"], 1e-8)

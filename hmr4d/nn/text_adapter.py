"""A small network that maps pooled text vectors to vectors that separate actions.

For a sentence encoder, "he heads down the sidewalk" is more similar to other sentences about sidewalks than to "a
person walks". The adapter is trained by supervised contrast (Khosla et al. 2020, arXiv 2004.11362) on the captions of
motion stores: captions of one action attract each other; all others repel each other, and so do captions of one action
that name opposite sides.
"""

from __future__ import annotations

import copy
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from hmr4d.data.store import MotionStore
from hmr4d.utils.files import atomic_path
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

ADAPTER_NAME = "text_adapter.safetensors"  # file in the folder of a released model
FORMAT, VERSION = "hmr4d-text-adapter", 1
_LEFT = re.compile(r"(?<![^\W_])left(?:wards?|most)?(?![^\W_])|(?<![\w-])(?:counter-?|anti-?)clockwise", re.IGNORECASE)
_RIGHT = re.compile(r"(?<![^\W_])right(?:wards?|most)?(?![^\W_])|(?<![\w-])clockwise", re.IGNORECASE)


class TextAdapter(nn.Module):
    """Pooled text vectors (..., in_dim) -> (..., dim) with zero mean and unit variance over the entries of each vector.

    Args:
        in_dim: width of the encoder's pooled vector.
        dim: width of the result.
        hidden: width of the residual blocks.
        num_blocks: number of residual blocks after the first linear layer.
        drop_input, dropout: dropout of the input and of the blocks.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        in_dim: int = 384,
        dim: int = 384,
        *,
        hidden: int = 384,
        num_blocks: int = 1,
        drop_input: float = 0.4,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        self.in_dim, self.dim, self.hidden, self.num_blocks = in_dim, dim, hidden, num_blocks
        self.register_buffer("mean", torch.zeros(in_dim))
        self.register_buffer("scale", torch.ones(()))
        self.drop_input = nn.Dropout(drop_input)
        self.embed = nn.Linear(in_dim, dim)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
            )
            for _ in range(num_blocks)
        )
        for block in self.blocks:
            nn.init.zeros_(block[-1].weight)  # type: ignore[index]
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, in_dim) pooled text vectors -> (B, dim) adapted ones."""
        if pooled.shape[-1] != self.in_dim:
            raise ValueError(
                f"The text adapter needs pooled vectors of {self.in_dim} dimensions; got {pooled.shape[-1]}. Use the "
                "text encoder of its training."
            )
        x = self.embed(self.drop_input((pooled - self.mean) / self.scale))
        for block in self.blocks:
            x = x + block(x)
        return self.norm(x)

    def save(self, path: str | Path) -> None:
        """Writes the adapter in float16 as one safetensors file that `load` reads."""
        network_sizes = {"in_dim": self.in_dim, "dim": self.dim, "hidden": self.hidden, "num_blocks": self.num_blocks}
        metadata = {"format": FORMAT, "version": str(VERSION)} | {k: str(v) for k, v in network_sizes.items()}
        with atomic_path(path) as temporary:
            save_file({k: v.detach().cpu().half() for k, v in self.state_dict().items()}, temporary, metadata)

    @classmethod
    def load(cls, path: str | Path) -> TextAdapter:
        """Loads an adapter: frozen and without dropout.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file is damaged or has other content.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"Text adapter not found: {path}. Create one with: hmr4d prepare text-adapter --store <store>"
            )
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
            if metadata.get("format") != FORMAT or metadata.get("version") != str(VERSION):
                raise ValueError(f"it is {metadata.get('format')!r} version {metadata.get('version')!r}")
            sizes = {key: int(metadata[key]) for key in ("in_dim", "dim", "hidden", "num_blocks")}
            adapter = cls(**sizes)
            adapter.load_state_dict(state)
        except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
            raise ValueError(
                f"{path} is not a text adapter of version {VERSION} ({error}). Create it again."
            ) from error
        return adapter.eval().requires_grad_(False)


@dataclass(frozen=True)
class LabeledCaptions:
    """Sentences and their actions; a sentence for two actions occurs twice.

    Attributes:
        texts: N sentences.
        pooled: (N, C) float32, the encoder's pooled vectors.
        actions: N names of actions.
        groups: N names of groups of actions; an action without a group forms its own group.
    """

    texts: Sequence[str]
    pooled: Tensor
    actions: Sequence[str]
    groups: Sequence[str]

    def __post_init__(self) -> None:
        counts = {len(self.texts), len(self.pooled), len(self.actions), len(self.groups)}
        if len(counts) != 1 or not self.texts:
            raise ValueError(f"Labeled captions need one text, vector, action and group each; got {sorted(counts)}.")

    def __len__(self) -> int:
        return len(self.texts)

    def numbered(self) -> tuple[list[tuple[str, str]], Tensor]:
        """The A sorted (action, group) of the captions, and the index (N,) int64 of each caption's."""
        keys = list(zip(self.actions, self.groups, strict=True))
        number = {key: i for i, key in enumerate(sorted(set(keys)))}
        return list(number), torch.tensor([number[key] for key in keys])

    def part(self, rows: Sequence[int]) -> LabeledCaptions:
        """The captions with indices `rows`."""
        return LabeledCaptions(
            [self.texts[i] for i in rows],
            self.pooled[list(rows)],
            [self.actions[i] for i in rows],
            [self.groups[i] for i in rows],
        )


def clip_actions(store: MotionStore) -> list[tuple[str, str] | None]:
    """(action, group) of every clip: the labels "action" and "content". If a clip has only one of them, it is used for
    both.

    Clips without labels, such as joined clips, have None.

    Raises:
        ValueError: the store has neither label.
    """
    if not {"content", "action"} & set(store.labels):
        raise ValueError(
            f"The clips of {store.path} have no label 'content' or 'action', only {sorted(store.labels)}. "
            "Known actions come from labels; use a store that has them."
        )
    nothing = [""] * len(store)
    groups, actions = store.labels.get("content", nothing), store.labels.get("action", nothing)
    return [
        (action or group, group or action) if action or group else None
        for action, group in zip(actions, groups, strict=True)
    ]


def read_captions(paths: Sequence[str | Path], encoder_name: str, split: str | None = "train") -> LabeledCaptions:
    """Captions of the clips of a split with their actions and cached vectors, from all stores.

    Args:
        paths: folders of motion stores with labels "content" and, optionally, "action".
        encoder_name: name of the encoder of the text cache, such as "minilm".
        split: None takes all clips.

    Raises:
        ValueError: a store has no labels or no text cache by this encoder.
    """
    vectors: dict[str, Tensor] = {}
    seen: dict[tuple[str, str, str], None] = {}
    for path in paths:
        store = MotionStore.open(path)
        cache, labels = store.text_cache(encoder_name), clip_actions(store)
        if cache is None:
            raise ValueError(
                f"{path} has no text cache of '{encoder_name}'. Create it with: hmr4d prepare text --store "
                f"{path} --text-encoder {encoder_name}"
            )
        for clip in store.indices(split).tolist():
            label = labels[clip]
            if label is None:
                continue
            for caption in {c.caption for c in store.clip_captions(clip)}:
                text = store.caption_texts[caption]
                seen.setdefault((text, *label))
                vectors.setdefault(text, torch.from_numpy(cache.pooled(caption).copy()))
    rows = sorted(seen)
    if not rows:
        raise ValueError(f"The stores {[str(path) for path in paths]} have no captions in split '{split}'.")
    texts, actions, groups = (list(column) for column in zip(*rows, strict=True))
    return LabeledCaptions(texts, torch.stack([vectors[text] for text in texts]), actions, groups)


def caption_votes(captions: LabeledCaptions, sameness: float = 0.1) -> Tensor:
    """Weights (N,) that sum to one for each action; near copies of a sentence share their weight.

    Args:
        captions: labeled captions.
        sameness: a caption weighs 1 / sum over its action's captions of exp((cosine - 1) / sameness).
    """
    unit, actions = normalize(captions.pooled, dim=-1), _numbers(captions.actions)
    votes = torch.zeros(len(captions))
    for k in range(int(actions.max()) + 1):
        rows = torch.nonzero(actions == k)[:, 0]
        share = 1.0 / torch.exp((unit[rows] @ unit[rows].T - 1.0) / sameness).sum(1)
        votes[rows] = share / share.sum()
    return votes


def side_of(text: str) -> int:
    """1 for a sentence that mentions the left side more often than the right, -1 for the opposite, otherwise 0."""
    difference = len(_LEFT.findall(text)) - len(_RIGHT.findall(text))
    return (difference > 0) - (difference < 0)


@dataclass(frozen=True)
class AdapterTraining:
    """Training options of an adapter.

    Attributes:
        seed: seed of initial weights, draws, noise and dropout.
        steps: number of batches.
        groups_per_batch, captions_per_group: composition of a batch; groups, and actions within a group, are drawn
            uniformly.
        temperature: temperature of the contrastive loss.
        noise: standard deviation of noise on the pooled vectors, relative to theirs.
        sameness: see `caption_votes`, which determines the probability of captions.
        learning_rate, weight_decay: options of AdamW with warm-up and cosine decay.
    """

    seed: int = 0
    steps: int = 1000
    groups_per_batch: int = 48
    captions_per_group: int = 8
    temperature: float = 0.1
    noise: float = 0.1
    sameness: float = 0.1
    learning_rate: float = 1e-3
    weight_decay: float = 0.05


def fit_text_adapter(
    captions: LabeledCaptions, training: AdapterTraining | None = None, *, dim: int = 384
) -> TextAdapter:
    """Trains an adapter. On one machine, the result depends on captions and options alone.

    Sentences of one action that mention opposite sides repel each other like sentences of different actions.

    Args:
        captions: labeled captions.
        training: training options.
        dim: width of the result.

    Raises:
        ValueError: there are fewer than two actions.
    """
    training = training or AdapterTraining()
    actions, groups = _numbers(captions.actions), _numbers(captions.groups)
    sides = torch.tensor([side_of(text) for text in captions.texts])
    if len(set(captions.actions)) < 2:
        raise ValueError(
            f"All captions have the action '{captions.actions[0]}'; an adapter needs at least two actions."
        )
    members = [torch.nonzero(groups == k)[:, 0] for k in range(int(groups.max()) + 1)]
    votes = caption_votes(captions, training.sameness)
    drawn = [votes[rows] for rows in members]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        adapter = TextAdapter(captions.pooled.shape[1], dim)
        adapter.mean.copy_(captions.pooled.mean(0))
        adapter.scale.copy_((captions.pooled - adapter.mean).std().clamp(min=1e-6))
        optimizer = torch.optim.AdamW(adapter.parameters(), training.learning_rate, weight_decay=training.weight_decay)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / training.steps))
        adapter.train()
        for _ in progress(range(training.steps), "text adapter", unit="step"):
            rows = _draw(members, drawn, training)
            noise = training.noise * adapter.scale * torch.randn(len(rows), captions.pooled.shape[1])
            pull = _attraction(actions[rows], sides[rows])
            loss = contrast_loss(adapter(captions.pooled[rows] + noise), pull, training.temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    logger.info("Text adapter: %d captions in %d groups of actions, %s.", len(captions), len(members), asdict(training))
    return adapter.eval().requires_grad_(False)


def rotated_like(adapter: TextAdapter, reference: TextAdapter, captions: LabeledCaptions) -> TextAdapter:
    """The adapter in the coordinates of another one, so that a generator trained with that one can go on with it.

    Two trainings give the same geometry in different directions. The rotation that brings the vectors of the captions
    nearest to those of `reference` (Schoenemann 1966, "A generalized solution of the orthogonal Procrustes problem") is
    multiplied into the weights. Cosines between the adapter's vectors stay the same.

    Args:
        adapter: adapter to rotate; it stays as it is.
        reference: adapter of the same width with the wanted directions.
        captions: captions whose vectors are compared, weighted by `caption_votes`.

    Raises:
        ValueError: the adapters differ in width.
    """
    if adapter.dim != reference.dim:
        raise ValueError(
            f"An adapter of width {adapter.dim} cannot be rotated like one of width {reference.dim}; give both the "
            f"same width."
        )
    with torch.no_grad():
        own, wanted = adapter(captions.pooled), reference(captions.pooled)
        covariance = wanted.T @ (own * caption_votes(captions)[:, None])
        covariance += covariance.norm() / adapter.dim  # keeps the mean over the entries of a vector in its place
        left, _, right = torch.linalg.svd(covariance.double())
        rotation = (left @ right).float()
        rotated = copy.deepcopy(adapter)
        rotated.embed.weight.copy_(rotation @ adapter.embed.weight)
        rotated.embed.bias.copy_(rotation @ adapter.embed.bias)
        for block in rotated.blocks:
            norm, first, last = block[0], block[1], block[-1]  # type: ignore[index]
            first.bias.add_(first.weight @ norm.bias)
            first.weight.copy_((first.weight * norm.weight) @ rotation.T)
            norm.weight.fill_(1.0)
            norm.bias.zero_()
            last.weight.copy_(rotation @ last.weight)
            last.bias.copy_(rotation @ last.bias)
    return rotated


def contrast_loss(vectors: Tensor, attraction: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss, equation 2 of arXiv 2004.11362 with weighted positives.

    Args:
        vectors: (B, C); the function normalizes them.
        attraction: (B, B) weight of row j as a positive of row i; the diagonal is ignored.
        temperature: divisor of the cosines.

    Returns:
        Mean over the rows with a positive; 0 if there are none.
    """
    unit = normalize(vectors, dim=-1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    logits = (unit @ unit.T / temperature).masked_fill(itself, -torch.inf)
    log_share = (logits - logits.logsumexp(1, keepdim=True)).masked_fill(itself, 0.0)
    attraction = attraction.masked_fill(itself, 0.0)
    total = attraction.sum(1)
    rows = -(log_share * attraction).sum(1) / total.clamp(min=1e-12)
    return rows.sum() / (total > 0).sum().clamp(min=1)


def _rate(done: float) -> float:
    """Learning rate, relative to the largest one, after a fraction of the steps: warm-up in the first tenth, then
    cosine decay."""
    return min(1.0, done / 0.1 + 0.01) * 0.5 * (1.0 + math.cos(math.pi * done))


def _numbers(names: Sequence[str]) -> Tensor:
    """Index (N,) int64 of each name among the sorted names."""
    number = {name: i for i, name in enumerate(sorted(set(names)))}
    return torch.tensor([number[name] for name in names])


def _draw(members: list[Tensor], votes: list[Tensor], training: AdapterTraining) -> Tensor:
    """Random indices (B,) of the captions of one batch."""
    count = min(training.groups_per_batch, len(members))
    chosen = torch.randperm(len(members))[:count].tolist()
    each = training.captions_per_group * training.groups_per_batch // count
    return torch.cat([members[k][torch.multinomial(votes[k], each, replacement=True)] for k in chosen])


def _attraction(actions: Tensor, sides: Tensor) -> Tensor:
    """(B, B) 1 for pairs of one action that do not mention opposite sides, else 0."""
    return ((actions[:, None] == actions[None]) & (sides[:, None] * sides[None] >= 0)).float()

"""The four separately trained networks of K2M."""

from __future__ import annotations

from typing import Literal, TypeVar

from torch import nn

from hmr4d.methods.k2m.tokenizer import MotionTokenizer
from hmr4d.methods.k2m.transformers import MaskedTransformer, PooledLengthEstimator, ResidualTransformer

Part = Literal["tokenizer", "masked", "residual", "length"]
PARTS: tuple[Part, ...] = ("tokenizer", "masked", "residual", "length")
PartT = TypeVar("PartT", bound=nn.Module)


class K2MNetwork(nn.Module):
    """Tokenizer, masked transformer, residual transformer and length estimator, or some of them.

    Args:
        tokenizer, masked, residual, length: networks; None: absent.
        only: keep only this network, for the training of one part.
    """

    def __init__(
        self,
        tokenizer: MotionTokenizer | None = None,
        masked: MaskedTransformer | None = None,
        residual: ResidualTransformer | None = None,
        length: PooledLengthEstimator | None = None,
        *,
        only: Part | None = None,
    ) -> None:
        super().__init__()
        if only is not None and only not in PARTS:
            raise ValueError(f"only is '{only}'; expected one of {list(PARTS)}.")
        given = {"tokenizer": tokenizer, "masked": masked, "residual": residual, "length": length}
        for name, part in given.items():
            self.register_module(name, part if only in (None, name) else None)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the present networks."""
        return tuple(name for name, _ in self.named_children())

    def part(self, name: Part, kind: type[PartT]) -> PartT:
        """The network `name`. Raises RuntimeError if it is absent."""
        network = getattr(self, name)
        if not isinstance(network, kind):
            raise RuntimeError(
                f"This network has {', '.join(self.parts) or 'no parts'}, but '{name}' is needed. Load all parts: "
                "exp=k2m/full_... ckpt_type=parts and one ckpt_path for each."
            )
        return network

    @property
    def motion_tokenizer(self) -> MotionTokenizer:
        return self.part("tokenizer", MotionTokenizer)

    @property
    def masked_transformer(self) -> MaskedTransformer:
        return self.part("masked", MaskedTransformer)

    @property
    def residual_transformer(self) -> ResidualTransformer:
        return self.part("residual", ResidualTransformer)

    @property
    def length_estimator(self) -> PooledLengthEstimator:
        return self.part("length", PooledLengthEstimator)

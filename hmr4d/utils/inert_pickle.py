"""A `pickle_module` for torch.load that reads tensors, arrays and containers; all other classes become placeholders.

Only a short list of classes is imported, so a file cannot execute code.
"""

from __future__ import annotations

import pickle
from typing import IO, Any

import numpy as np
import torch

_IS_NUMPY_1 = np.__version__.startswith("1.")  # which lacks the module name that newer pickles use
_BUILTINS = (
    "bool",
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "range",
    "set",
    "slice",
    "str",
    "tuple",
)
ALLOWED = {
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
    *(("builtins", name) for name in _BUILTINS),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
    ),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch.nn.parameter", "Parameter"),
    ("torch.storage", "UntypedStorage"),
    *(("torch._utils", f"_rebuild_{name}") for name in ("tensor", "tensor_v2", "parameter")),
    *(("torch", name) for name, value in vars(torch).items() if isinstance(value, torch.dtype)),
}


class Placeholder:
    """Placeholder for an object of an unsupported class; accepts all pickle operations and stores nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Placeholder:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Keeps nothing."""

    def __call__(self, *args: Any, **kwargs: Any) -> Placeholder:
        return Placeholder()

    def __setstate__(self, state: Any) -> None:
        """Keeps nothing."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Keeps nothing; subclasses of dict are filled by this."""

    def append(self, value: Any) -> None:
        """Keeps nothing; subclasses of list are filled by this."""

    def extend(self, values: Any) -> None:
        """Keeps nothing."""

    def add(self, value: Any) -> None:
        """Keeps nothing; subclasses of set are filled by this."""


class Unpickler(pickle.Unpickler):
    """Resolves only the classes of the short list; any other global is `Placeholder`."""

    def find_class(self, module: str, name: str) -> Any:
        module = "builtins" if module == "__builtin__" else module  # its name in the older protocols
        if (module, name) not in ALLOWED:
            return Placeholder
        if _IS_NUMPY_1:
            module = module.replace("numpy._core", "numpy.core")
        return super().find_class(module, name)


def load(file: IO[bytes], **settings: Any) -> Any:
    """One object from a stream, read as `Unpickler` reads it."""
    return Unpickler(file, **settings).load()

"""What holds for every test: no network, no display, slow and GPU tests only where they belong."""

from __future__ import annotations

import gc
import importlib.util
import os
import socket
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from tests.data.bandai_files import bandai_bvh_file

if importlib.util.find_spec("hypothesis"):  # part of the test requirements; other tests run without it
    from hypothesis import settings
    from hypothesis.configuration import set_hypothesis_home_dir

    set_hypothesis_home_dir(tempfile.gettempdir())  # it keeps files even where no example is to be kept
    # The same examples in every run, and no files of earlier ones. For a search: --hypothesis-profile=search
    settings.register_profile("hmr4d", max_examples=25, deadline=None, derandomize=True, database=None)
    settings.register_profile("search", max_examples=1000, deadline=None, database=None)
    settings.load_profile("hmr4d")

if "PYTEST_XDIST_WORKER" in os.environ:  # several processes share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    run_slow = config.getoption("--run-slow") or "slow" in config.getoption("markexpr", "")
    for item in items:
        if item.get_closest_marker("slow") and not run_slow:
            item.add_marker(pytest.mark.skip(reason="slow; run with --run-slow"))
        if item.get_closest_marker("gpu") and not _has_cuda():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_collection_finish() -> None:
    """Garbage is collected after more allocations than by default (700): that took a tenth of the processor time."""
    gc.set_threshold(10_000, 20, 20)


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to another machine fails at once instead of making a test depend on it."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"Tests use no network; this one connects to {address[0]}.")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture(scope="session")
def bandai_bvh() -> Callable[..., bytes]:
    """Function (num_frames, seed) -> content of a BVH file with the joints and channels of Bandai-Namco."""
    return bandai_bvh_file

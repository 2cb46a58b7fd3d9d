"""With -v, the largest error of every comparison with golden vectors is listed after the run."""

from typing import Any

import pytest

from tests.golden.vectors import golden_root, largest_errors


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if largest_errors and config.getoption("verbose") > 0:
        terminalreporter.section(f"golden vectors in {golden_root()}: largest absolute errors")
        for what, error in sorted(largest_errors.items()):
            terminalreporter.write_line(f"{error:9.2e}  {what}")

"""Messages and exit status of the command-line programs."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from hmr4d.utils.text_files import printable

BAD_INPUT = (ValueError, TypeError, OSError, ImportError, FloatingPointError)  # the rest shows its traceback


class _PrintableFormatter(logging.Formatter):
    """Messages without the control characters that names and contents of users' files may have."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


def setup_logging() -> None:
    """Configures logging: one line per message on stderr, from libraries only warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PrintableFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("hmr4d").setLevel(logging.INFO)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # a bar for reading a file is noise
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")


def run_guarded(
    work: Callable[[], int], *, out: str | Path | None = None, kept: str = "the same command continues from here"
) -> int:
    """Runs the work of a command: an error that the user can correct ends with a message, Ctrl-C with one line.

    With HYDRA_FULL_ERROR=1 in the environment, errors show their traceback.

    Args:
        work: returns the exit status.
        out, kept: description of the results that remain after Ctrl-C, see `stopped`.

    Returns:
        The exit status: that of `work`, 2 for bad input, 130 for Ctrl-C.
    """
    try:
        return work()
    except KeyboardInterrupt:
        return stopped(out, kept=kept)
    except Exception as error:
        cause = mendable(error)
        if cause is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        return fail(cause)


def mendable(error: Exception) -> Exception | None:
    """The user's input error behind an error: the error itself, or its cause; None for an internal error."""
    if isinstance(error, BAD_INPUT) or type(error).__module__.startswith("omegaconf."):
        return error
    if type(error).__module__ == "hydra.errors":  # of a class that a configuration asked for, or of the configuration
        cause = error.__cause__
        return mendable(cause) if isinstance(cause, Exception) else error
    return None


def fail(error: Exception) -> int:
    """Prints an error as one sentence on stderr; the exit status for bad input."""
    sys.stderr.write(f"error: {shown(error)}\n")
    return 2


def shown(message: Exception | str) -> str:
    """A message for the terminal: control characters from input files are escaped, line breaks are kept."""
    return "\n".join(printable(line) for line in str(message).split("\n"))


def stopped(out: str | Path | None = None, *, kept: str = "the same command continues from here") -> int:
    """Reports on stderr that Ctrl-C ended a command and which results remain; returns the exit status.

    Args:
        out: output folder of the command.
        kept: remaining results, for commands without an output folder.
    """
    if out is not None:
        kept = f"finished files are kept in {out}" if Path(out).exists() else "nothing was written"
    sys.stderr.write(f"Stopped; {kept}.\n")
    return 130


def fail_some(errors: Sequence[Exception], total: int) -> int:
    """Lists on stderr the problems of the excluded ones of `total` inputs.

    Returns:
        The exit status: 0 where there are none, 1 where others could be used, 2 where none could.
    """
    if errors and total > 1:
        sys.stderr.write(f"error: {len(errors)} of {total} could not be used:\n")
    for error in errors:
        sys.stderr.write(f"error: {shown(error)}\n")
    if not errors:
        return 0
    return 2 if len(errors) == total else 1

"""Warnings about inputs: each kind once, with the number of inputs."""

from __future__ import annotations

import logging

import pytest

from hmr4d.utils.remarks import Remark, tell_once


def test_an_input_with_several_remarks_of_a_kind_counts_once(caplog: pytest.LogCaptureFixture) -> None:
    doubled = [("one", Remark("name", f"the name {word} occurs twice.")) for word in "abc"]
    tell_once(logging.getLogger("hmr4d.test"), doubled, 2)
    tell_once(logging.getLogger("hmr4d.test"), [*doubled, ("two", Remark("name", "the name d occurs twice."))], 2)
    assert [r.message for r in caplog.records] == [
        "one: the name a occurs twice.",
        "one: the name a occurs twice. This affects 2 of 2 files.",
    ]

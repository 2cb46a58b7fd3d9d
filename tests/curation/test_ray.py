"""The Ray backend: two workers, one of which is killed, give the data set of a single process."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from hmr4d.curation import partitions
from hmr4d.curation.partitions import Outcome, Task, run_here, run_on_ray, tasks_of
from hmr4d.curation.shards import pack
from hmr4d.curation.sources import LocalFolder
from hmr4d.curation.stages import Settings
from tests.curation.sources import write_cases
from tests.curation.test_run import contents

ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'hmr4d[curation]')")
ROOT = str(Path(__file__).parents[2])


@pytest.mark.slow
def test_two_workers_one_killed_give_the_data_set_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "PARTITION_SOURCES", 25)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")
    write_cases(tmp_path / "files", copies=29)  # 203 clips
    settings = Settings(str(tmp_path / "files"), captioner="template")
    tasks = tasks_of(LocalFolder(tmp_path / "files").list(), settings, tmp_path / "work_one", tmp_path)
    one = list(run_here(tasks))
    died = tmp_path / "died"

    def deadly(task: Task) -> Outcome:
        """The worker that first comes to the fourth partition dies."""
        from hmr4d.curation.partitions import run_task

        if task.name == "part-00003" and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return run_task(task)

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        two = list(run_on_ray([replace(task, work=tmp_path / "work_two") for task in tasks], 2, run=deadly))
    finally:
        ray.shutdown()
    assert died.exists()
    assert [(o.name, o.digest, o.dead) for o in two] == [(o.name, o.digest, o.dead) for o in one]
    for name, outcomes in (("one", one), ("two", two)):
        pack(outcomes, tmp_path / name, decisions={})
    assert contents(tmp_path / "two") == contents(tmp_path / "one")

"""`scalequest local` in real processes: kill -9, Ctrl-C, two at once."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from builders import run_document, write_inputs

SCRIPT = Path(__file__).resolve().parents[1] / "run_world.py"
KILLS = 12


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    write_inputs(tmp_path)
    path = tmp_path / "run.yaml"
    stages = {
        "generate-questions": {"chunkRows": 5, "shards": 2},
        "generate-responses": {"chunkRows": 4, "shards": 2},
        "judge-solvability": {"chunkRows": 6},
        "rewrite-questions": {"chunkRows": 4},
        "score-responses": {"chunkRows": 20},
    }
    path.write_text(yaml.safe_dump(run_document(compute={"stages": stages})))
    return path


def start(run_path: Path, workdir: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, str(SCRIPT), str(run_path), str(workdir)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(process: "subprocess.Popen[str]") -> str:
    _, stderr = process.communicate(timeout=120)
    return stderr


def receipts(workdir: Path) -> list[Path]:
    return sorted((workdir / "store").glob("runs/*/*/*/*/receipt/*/*.json"))


def wait_for_receipts(process: "subprocess.Popen[str]", workdir: Path, count: int) -> None:
    while process.poll() is None and len(receipts(workdir)) < count:
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue


def dataset(workdir: Path) -> list[dict[str, Any]]:
    return pq.read_table(
        workdir / "datasets" / "test-run" / "data" / "train-00000-of-00001.parquet"
    ).to_pylist()


def test_after_kill_9_anywhere_a_rerun_goes_on_from_the_last_committed_chunk(
    run_path: Path, tmp_path: Path
) -> None:
    rng = random.Random(7)
    workdir = tmp_path / "killed"
    for _ in range(KILLS):
        process = start(run_path, workdir)
        wait_for_receipts(process, workdir, len(receipts(workdir)) + rng.randint(1, 6))
        process.kill()
        finish(process)
    last = start(run_path, workdir)
    stderr = finish(last)
    assert last.returncode == 0, stderr

    undisturbed = tmp_path / "undisturbed"
    whole = start(run_path, undisturbed)
    assert finish(whole) is not None
    assert whole.returncode == 0
    assert dataset(workdir) == dataset(undisturbed)
    done_twice = Counter(re.sub(r"/[^/]+$", "", str(path)) for path in receipts(workdir))
    # A worker outlives its parent by a moment and may commit one chunk that nobody waits for.
    assert sum(count - 1 for count in done_twice.values()) <= KILLS
    assert len(receipts(workdir)) - len(receipts(undisturbed)) <= KILLS


def test_ctrl_c_ends_with_try_again_and_a_rerun_finishes(run_path: Path, tmp_path: Path) -> None:
    process = start(run_path, tmp_path / "work")
    wait_for_receipts(process, tmp_path / "work", 6)
    process.send_signal(signal.SIGINT)
    assert "run the same command again" in finish(process)
    assert process.returncode == 75
    again = start(run_path, tmp_path / "work")
    finish(again)
    assert again.returncode == 0
    assert dataset(tmp_path / "work")


def test_a_signal_to_the_whole_group_ends_with_try_again(run_path: Path, tmp_path: Path) -> None:
    """As `timeout` and service managers send it; workers that died of it must not hold up their parent."""
    process = start(run_path, tmp_path / "work")
    wait_for_receipts(process, tmp_path / "work", 6)
    os.killpg(process.pid, signal.SIGTERM)
    assert "run the same command again" in finish(process)
    assert process.returncode == 75


def workers(process: "subprocess.Popen[str]") -> list[int]:
    """Return the worker processes of a launcher."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_stop_after_a_worker_was_killed_ends_too(run_path: Path, tmp_path: Path) -> None:
    process = start(run_path, tmp_path / "work")
    wait_for_receipts(process, tmp_path / "work", 6)
    for pid in workers(process):
        os.kill(pid, signal.SIGKILL)
    wait_for_receipts(process, tmp_path / "work", len(receipts(tmp_path / "work")) + 1)
    process.send_signal(signal.SIGINT)
    assert "run the same command again" in finish(process)
    assert process.returncode == 75


def test_a_run_at_work_refuses_a_second_launcher(run_path: Path, tmp_path: Path) -> None:
    first = start(run_path, tmp_path / "work")
    wait_for_receipts(first, tmp_path / "work", 1)
    second = start(run_path, tmp_path / "work")
    message = finish(second)
    first.kill()
    finish(first)
    assert second.returncode == 64
    assert "already at work" in message


def test_log_lines_are_json_with_the_state_of_every_stage(run_path: Path, tmp_path: Path) -> None:
    process = start(run_path, tmp_path / "work")
    lines = [json.loads(line) for line in finish(process).splitlines() if line.startswith("{")]
    states = {(line["stage"], line["state"]) for line in lines if line["event"] == "stage"}
    assert {stage for stage, state in states if state == "done"} == set(lines[0]["stages"])

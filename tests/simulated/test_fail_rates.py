"""The labels of the difficulty scorer: what was not tried has none."""

import json
from pathlib import Path

from builders import make_run, write_inputs
from fakes import ScriptedGenerator
from in_process import Launcher
from scalequest_jobs import ports
from scalequest_jobs.stores.memory import MemoryStore
from scripted_world import WorldEngines, reply

NODE = "estimate-fail-rates"


class NarrowEngines(WorldEngines):
    """Engines whose generator takes 1,000 characters."""

    def generator(self, model: Path) -> ports.TextGenerator:
        return ScriptedGenerator(reply, max_length=1000)


def test_a_question_longer_than_the_solvers_window_gets_no_fail_rate(tmp_path: Path) -> None:
    write_inputs(tmp_path, seeds=10)
    with (tmp_path / "seeds.jsonl").open("a") as file:
        file.write(json.dumps({"question": "How many apples? " * 100, "answer": "7"}) + "\n")
    filters = {
        "solvability": {"model": "solver"},
        "difficulty": {"scorer": "train", "base": "solver", "solver": "solver", "maxTokens": 64},
    }
    launcher = Launcher(make_run(filters=filters).spec, MemoryStore(), NarrowEngines(), tmp_path)
    counts = launcher.run(until=NODE)[NODE].counts
    assert (counts.rows_in, counts.rows_out, counts.rejected) == (11, 10, {"aborted": 1})

"""Whole runs on fakes: every stage, conservation, resume after a crash at any write, the stage cache."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from builders import make_run, write_inputs
from in_process import Launcher
from scalequest_jobs import ports
from scalequest_jobs.contract.artifact import StageManifest
from scalequest_jobs.execution import models, reading
from scalequest_jobs.publishing import address, verify
from scalequest_jobs.stores.memory import MemoryStore
from scripted_world import WorldEngines
from tiny_world import world


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_inputs(tmp_path)
    return tmp_path


def launch(folder: Path, store: ports.ArtifactStore | None = None, **spec: Any) -> Launcher:
    return Launcher(make_run(**spec).spec, store or MemoryStore(), WorldEngines(), folder)


def rows(launcher: Launcher, node: str, name: str = "rows") -> list[dict[str, Any]]:
    manifest = launcher.done[node][1]
    return reading.TableReader(launcher.store, manifest, name).table().to_pylist()


DIFFICULTY = {"scorer": "train", "base": "solver", "solver": "solver", "samples": 4}
TWO_GENERATORS = [
    {"name": "a", "model": "writer", "questions": 60, "difficulty": {"keep": "threshold", "minimum": -0.5}},
    {"name": "b", "model": "writer", "questions": 60, "difficulty": {"keep": "histogram", "bins": [1, 1, 1]}},
]


def filters(**more: Any) -> dict[str, Any]:
    return {
        "format": {"minTokens": 1, "maxTokens": 8000},
        "duplicates": {"threshold": 0.95},
        "solvability": {"model": "solver"},
        **more,
    }


def test_every_stage_of_the_method_runs_and_rows_are_conserved_between_them(folder: Path) -> None:
    launcher = launch(folder, generators=TWO_GENERATORS, filters=filters(difficulty=DIFFICULTY))
    manifests = launcher.run()
    assert {manifest.stage for manifest in manifests.values()} == {
        stage for stage in launcher_stages() if stage != "train-student"
    }
    for manifest in manifests.values():
        counts = manifest.counts
        assert counts.rows_in == counts.rows_out + sum(counts.rejected.values()), manifest.node
    assert manifests["publish-dataset"].counts.rows_out > 10


def launcher_stages() -> set[str]:
    from scalequest_jobs import catalog

    return {stage.name for stage in catalog.STAGES}


def test_every_rejected_record_is_kept_with_stage_and_reason(folder: Path) -> None:
    launcher = launch(folder)
    for node, manifest in launcher.run().items():
        rejected = sum(manifest.counts.rejected.values())
        if rejected:
            kept = rows(launcher, node, "rejects")
            assert len(kept) == rejected
            assert all(row["stage"] == node and row["reason"] for row in kept)


def test_the_judge_keeps_exactly_the_solvable_questions(folder: Path) -> None:
    launcher = launch(folder)
    launcher.run(until="judge-solvability")
    cleaned = {row["text"] for row in rows(launcher, "clean-questions")}
    judged = {row["text"] for row in rows(launcher, "judge-solvability")}
    assert judged == {text for text in cleaned if world.truth(text) is not None}


def test_no_two_question_requests_share_a_seed_or_a_prompt_with_a_double_start(folder: Path) -> None:
    launcher = launch(
        folder, compute={"stages": {"generate-questions": {"shards": 3, "chunkRows": 7}}}, preference=None
    )
    launcher.run(until="generate-questions@a")
    asked = launcher.engines.asked  # type: ignore[attr-defined]
    assert len(asked) == 60
    assert len({request.seed for request in asked}) == 60
    assert len({request.prompt_ids for request in asked}) == 1
    assert all(request.sampling.samples == 1 for request in asked)


def test_the_number_of_shards_does_not_change_the_questions(folder: Path) -> None:
    texts = []
    for shards in (1, 4):
        stages = {"generate-questions": {"shards": shards, "chunkRows": 7}}
        launcher = launch(folder, compute={"stages": stages}, preference=None)
        launcher.run(until="generate-questions@a")
        texts.append([row["text"] for row in rows(launcher, "generate-questions@a")])
    assert texts[0] == texts[1]


def test_a_second_run_does_no_stage_again(folder: Path) -> None:
    first = launch(folder)
    first.run()
    second = launch(folder, first.store)
    second.run()
    assert second.ran == []
    assert len(second.hits) == len(first.ran)


def test_changing_the_judge_runs_only_what_depends_on_it(folder: Path) -> None:
    first = launch(folder)
    first.run()
    changed = filters(solvability={"model": "solver", "maxTokens": 999})
    second = launch(folder, first.store, filters=changed)
    second.run()
    assert second.ran[0] == "judge-solvability"
    assert set(second.ran) <= {
        "judge-solvability",
        "select-questions",
        "generate-responses",
        "score-responses",
        "select-responses",
        "publish-dataset",
    }


def test_a_stage_that_comes_to_the_same_rows_spares_those_after_it(folder: Path) -> None:
    """Fingerprints use what inputs hold, not when they were made."""
    first = launch(folder)
    first.run()
    second = launch(folder, first.store, filters=filters(solvability={"model": "solver", "maxTokens": 999}))
    second.run()
    assert "generate-responses" in second.hits


def test_changing_the_selection_runs_no_engine(folder: Path) -> None:
    first = launch(folder)
    first.run()
    selection = {"method": "reward", "model": "reward", "minScore": -0.5}
    second = launch(folder, first.store, selection=selection)
    second.run()
    assert second.ran == ["select-responses", "publish-dataset"]


class CrashError(BaseException):
    """The process died; nothing catches it."""


class CrashingStore(MemoryStore):
    """Dies before or after its nth write."""

    def __init__(self, inner: MemoryStore, at: int, *, after: bool) -> None:
        self._inner = inner
        self._left = at
        self._after = after

    def put(self, key: str, data: bytes) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise CrashError
        self._inner.put(key, data)
        if self._left == 0:
            raise CrashError

    def upload(self, key: str, path: Path) -> None:
        self.put(key, path.read_bytes())

    def get(self, key: str) -> bytes:
        return self._inner.get(key)

    def size(self, key: str) -> int:
        return self._inner.size(key)

    def download(self, key: str, path: Path) -> None:
        self._inner.download(key, path)

    def keys(self, prefix: str) -> list[str]:
        return self._inner.keys(prefix)

    def describe(self) -> str:
        return self._inner.describe()


def crash_points() -> Iterator[tuple[int, bool]]:
    yield from ((at, after) for at in range(1, 165, 7) for after in (False, True))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    write_inputs(folder)
    launcher = launch(folder)
    launcher.run()
    return rows(launcher, "select-responses")


@pytest.mark.parametrize(("at", "after"), list(crash_points()))
def test_a_crash_at_any_write_loses_at_most_a_chunk_and_changes_no_row(
    folder: Path, undisturbed: list[dict[str, Any]], *, at: int, after: bool
) -> None:
    store = MemoryStore()
    first = launch(folder, CrashingStore(store, at, after=after))
    with pytest.raises(CrashError):
        first.run()
    second = launch(folder, store)
    second.run()
    assert rows(second, "select-responses") == undisturbed
    assert not set(second.ran) & set(first.done)
    asked = [request.seed for engines in (first.engines, second.engines) for request in engines.asked]  # type: ignore[attr-defined]
    assert len(asked) - len(set(asked)) <= 250


def test_a_stop_ends_at_a_chunk_and_a_rerun_goes_on_from_it(folder: Path) -> None:
    launcher = launch(folder, preference=None)
    launcher.run(until="train-question-generator@a")
    served = launcher.engines.asked  # type: ignore[attr-defined]

    class StoppingAfter30(list):  # type: ignore[type-arg]
        def __iadd__(self, more: Any) -> Any:
            result = super().__iadd__(more)
            if len(self) >= 30:
                launcher.stop.set()
            return result

    launcher.engines.asked = StoppingAfter30(served)  # type: ignore[attr-defined]
    with pytest.raises(ports.StoppedError, match="rerun goes on"):
        launcher.run()
    first = [request.index + 20 * request.chunk for request in launcher.engines.asked]  # type: ignore[attr-defined]
    rest = launch(folder, launcher.store, preference=None)
    rest.run(until="generate-questions@a")
    assert first[:20] == list(range(20))
    assert min(request.chunk for request in rest.engines.asked) == 1  # type: ignore[attr-defined]


def published(launcher: Launcher, folder: Path) -> Path:
    ref, manifest = launcher.done["publish-dataset"]
    target = folder / "dataset"
    models.place_files(launcher.store, manifest, target)
    address.write(target, "s3+http://nowhere/bucket", ref)
    return target


READ_CROISSANT = """
import json, sys, mlcroissant
described = mlcroissant.Dataset(jsonld=sys.argv[1])
rows = [[row["rows/query"].decode(), int(row["rows/agreement"]), float(row["rows/score"])] for row in described.records("rows")]
print(json.dumps({"rows": rows, "files": {file.id: file.sha256 for file in described.metadata.file_objects}}))
"""


def test_croissant_reads_every_row_of_every_shard_with_its_types(folder: Path) -> None:
    launcher = launch(folder, publish={"shardRows": 7})
    launcher.run(until="publish-dataset")
    dataset = published(launcher, folder)
    # A process of its own: the library warns of its dependencies' future, and warnings are errors here.
    command = [sys.executable, "-c", READ_CROISSANT, str(dataset / "croissant.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    shards = sorted((dataset / "data").glob("*.parquet"))
    expected = pq.read_table(shards, columns=["query", "agreement", "score"])
    assert len(shards) > 1
    assert sorted(map(tuple, seen["rows"])) == sorted(tuple(row.values()) for row in expected.to_pylist())
    assert seen["files"] == {f"data/{path.name}": reading.file_sha256(path) for path in shards}


def test_the_card_names_languages_license_and_every_stage(folder: Path) -> None:
    launcher = launch(
        folder, filters=filters(language={"keep": ["en", "de"]}), publish={"license": "mit", "name": "sums"}
    )
    launcher.run()
    _, front, text = (published(launcher, folder) / "README.md").read_text().split("---\n", 2)
    card = yaml.safe_load(front)
    assert (card["language"], card["license"], card["pretty_name"]) == (["en", "de"], "mit", "sums")
    assert card["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]
    for node in set(launcher.done) - {"publish-dataset"}:
        assert f"| {node} |" in text


def failures(launcher: Launcher, dataset: Path) -> list[str]:
    checks = verify.verify(dataset, launcher.store, launcher.done["publish-dataset"][0])
    return [check.subject for check in checks if not check.ok]


def test_verify_passes_on_a_sound_dataset_and_checks_every_stage(folder: Path) -> None:
    launcher = launch(folder)
    manifests = launcher.run()
    dataset = published(launcher, folder)
    checks = list(verify.verify(dataset, launcher.store, launcher.done["publish-dataset"][0]))
    assert [check for check in checks if not check.ok] == []
    assert {check.subject.removeprefix("manifest ") for check in checks} >= set(manifests) - {
        "publish-dataset"
    }
    assert sum(check.subject.startswith("rows into") for check in checks) >= 8


def test_verify_finds_a_flipped_byte_in_any_object(folder: Path) -> None:
    launcher = launch(folder)
    launcher.run()
    dataset = published(launcher, folder)
    for node in ("import-questions@seeds", "clean-questions", "generate-responses"):
        ref = launcher.done[node][1].objects("rows")[0]
        sound = launcher.store.get(ref.key)
        launcher.store.put(ref.key, bytes([sound[0] ^ 1]) + sound[1:])
        assert failures(launcher, dataset) == [f"object {node} chunk 0 rows"]
        launcher.store.put(ref.key, sound)


def test_verify_finds_a_changed_file_a_missing_file_and_a_foreign_file(folder: Path) -> None:
    launcher = launch(folder)
    launcher.run()
    dataset = published(launcher, folder)
    (dataset / "README.md").write_text("other")
    (dataset / "report.json").unlink()
    (dataset / "extra.txt").write_text("extra")
    assert failures(launcher, dataset) == ["file README.md", "file report.json", "file extra.txt"]


def test_a_damaged_input_is_refused_by_name(folder: Path) -> None:
    launcher = launch(folder)
    launcher.run(until="clean-questions")
    manifest: StageManifest = launcher.done["clean-questions"][1]
    launcher.store.put(manifest.objects("rows")[0].key, b"garbage")
    with pytest.raises(ports.BadInputError, match="was committed"):
        launcher.run()


def test_the_published_rows_name_their_models_by_digest(folder: Path) -> None:
    launcher = launch(folder)
    launcher.run()
    dataset = published(launcher, folder)
    (path,) = (dataset / "data").glob("*.parquet")
    row = pq.read_table(path).to_pylist()[0]
    assert row["messages"][0] == {"role": "user", "content": row["query"]}
    for column in ("question_model", "response_model", "score_model"):
        assert len(row[column]) == 64
    assert row["question_model"] == models.model_digest(launcher.done["train-question-preference@a"][1])

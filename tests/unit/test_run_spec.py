"""The spec: what is valid, how each fault is told, and the paper's values as defaults."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import MODELS, make_run, run_document
from scalequest_jobs import catalog, ports
from scalequest_jobs.contract import graph
from scalequest_jobs.contract.run import ScaleQuestRun
from scalequest_jobs.local import run_file

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

MINIMAL: dict[str, Any] = {
    "apiVersion": "scalequest.io/v1alpha1",
    "kind": "ScaleQuestRun",
    "metadata": {"name": "smallest"},
    "spec": {
        "storage": {"bucket": "bucket"},
        "seedQuestions": {"key": "seeds.parquet"},
        "models": {"only": {"key": "models/only"}},
        "generators": [{"name": "a", "model": "only", "questions": 1}],
        "filters": {"solvability": {"model": "only"}},
        "responses": {"model": "only"},
    },
}


def problems(document: dict[str, Any]) -> list[str]:
    with pytest.raises(run_file.RunFileError) as caught:
        run_file.parse(document)
    return caught.value.problems


def edited(path: str, value: Any) -> dict[str, Any]:
    """Return the default run with the value at a dotted path replaced, or removed by `...`."""
    document = copy.deepcopy(run_document())
    *parents, last = path.split(".")
    place: Any = document
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


def test_a_minimal_run_is_valid_and_has_a_plan() -> None:
    run = run_file.parse(MINIMAL)
    names = [node.name for node in catalog.plan(run.spec).nodes]
    assert names[0] == "import-questions@seeds"
    assert names[-1] == "publish-dataset"
    assert "train-question-preference@a" not in names


# --- faults

UNKNOWN = r"unknown field; remove it or correct its name"
BAD = [
    ("apiVersion", "scalequest.io/v1", "apiVersion", "'scalequest.io/v1alpha1'"),
    ("kind", "ScaleQuestRuns", "kind", "'ScaleQuestRun'"),
    ("kind", ..., "kind", "missing; it is required"),
    ("metadata.name", ..., "metadata.name", "missing; it is required"),
    ("metadata.name", "My_Run", "metadata.name", "seen 'My_Run'"),
    ("metadata.name", "a" * 41, "metadata.name", "at most 40 characters"),
    ("spec", ..., "spec", "missing; it is required"),
    ("spec", "text", "spec", "expected an object; seen 'text'"),
    ("spec.generator", [], "spec.generator", UNKNOWN),
    ("spec.seed_questions", {"path": "x"}, "spec.seed_questions", UNKNOWN),
    ("spec.responses.max_tokens", 9, "spec.responses.max_tokens", UNKNOWN),
    ("spec.responses.topp", 0.5, "spec.responses.topp", UNKNOWN),
    ("spec.models.writer.url", "x", "spec.models.writer.url", UNKNOWN),
    ("spec.preference.rewriter.endpoint.apiKey", "secret", "spec.preference.rewriter.endpoint.apiKey", UNKNOWN),
    ("spec.compute.engine.windows", 3, "spec.compute.engine.windows", UNKNOWN),
    ("spec.storage", ..., "spec.storage", "missing; it is required"),
    ("spec.storage.bucket", ..., "spec.storage.bucket", "missing; it is required"),
    ("spec.storage.bucket", "Bucket", "spec.storage.bucket", "should match pattern"),
    ("spec.storage.endpoint", "minio:9000", "spec.storage.endpoint", "https?://"),
    ("spec.seedQuestions", ..., "spec.seedQuestions", "missing; it is required"),
    ("spec.seedQuestions.maxRows", 0, "spec.seedQuestions.maxRows", "greater than or equal to 1; seen 0"),
    ("spec.seedQuestions.path", "a\nb", "spec.seedQuestions.path", "should match pattern"),
    ("spec.models", ..., "spec.models", "missing; it is required"),
    ("spec.models", {}, "spec.models", "at least 1 item"),
    ("spec.models", ["writer"], "spec.models", "expected an object"),
    ("spec.models.writer.hub", "no-owner", "spec.models.writer.hub", "should match pattern"),
    ("spec.models.writer.revision", "main", "spec.models.writer.revision", "[0-9a-f]{40}"),
    ("spec.models.Writer", {"path": "x"}, "spec.models.Writer.[key]", "seen 'Writer'"),
    ("spec.generators", ..., "spec.generators", "missing; it is required"),
    ("spec.generators", [], "spec.generators", "at least 1 item"),
    ("spec.generators", "writer", "spec.generators", "expected a list; seen 'writer'"),
    ("spec.generators.0.questions", 0, "spec.generators.0.questions", "greater than or equal to 1; seen 0"),
    ("spec.generators.0.questions", "many", "spec.generators.0.questions", "valid integer"),
    ("spec.generators.0.questions", 1.5, "spec.generators.0.questions", "valid integer"),
    ("spec.generators.0.temperature", 2.1, "spec.generators.0.temperature", "less than or equal to 2; seen 2.1"),
    ("spec.generators.0.topP", 0, "spec.generators.0.topP", "greater than 0; seen 0"),
    ("spec.generators.0.maxTokens", 7, "spec.generators.0.maxTokens", "greater than or equal to 8"),
    ("spec.generators.0.name", "a" * 17, "spec.generators.0.name", "at most 16 characters"),
    ("spec.fineTuning.learningRate", -1, "spec.fineTuning.learningRate", "greater than 0; seen -1"),
    ("spec.fineTuning.learningRate", float("nan"), "spec.fineTuning.learningRate", "finite number; seen nan"),
    ("spec.fineTuning.scheduler", "step", "spec.fineTuning.scheduler", "'cosine', 'linear' or 'constant'"),
    ("spec.preference.rewriter", ..., "spec.preference.rewriter", "missing; it is required"),
    ("spec.preference.beta", 0, "spec.preference.beta", "greater than 0"),
    ("spec.preference.solvabilityShare", 1.1, "spec.preference.solvabilityShare", "less than or equal to 1"),
    ("spec.filters.language", {"keep": ["EN"]}, "spec.filters.language.keep.0", "[a-z]{2,3}"),
    ("spec.filters.duplicates.threshold", 0, "spec.filters.duplicates.threshold", "greater than 0"),
    ("spec.filters.solvability", ..., "spec.filters.solvability", "missing; it is required"),
    (
        "spec.filters.difficulty",
        {"scorer": "A Model"},
        "spec.filters.difficulty.scorer",
        "'train' or 'passRate'; seen 'A Model'",
    ),
    ("spec.responses", None, "spec.responses", "missing; it is required"),
    ("spec.responses.candidates", 65, "spec.responses.candidates", "less than or equal to 64"),
    ("spec.selection.method", "best", "spec.selection.method", "'reward', 'likelihood', 'majority'"),
    ("spec.publish.shardRows", 0, "spec.publish.shardRows", "greater than or equal to 1"),
    ("spec.compute.stages.Judge", {"shards": 2}, "spec.compute.stages.Judge.[key]", "should match pattern"),
    ("spec.compute.stages.judge-solvability", {"shards": 0}, "spec.compute.stages.judge-solvability.shards", "1"),
    ("spec.budget.maxGpuHours", 0, "spec.budget.maxGpuHours", "greater than 0"),
    ("spec.retries.disruptions", -1, "spec.retries.disruptions", "or equal to 0, or input should be 'unlimited'"),
    ("spec.seed", 2**53, "spec.seed", "less than or equal to 9007199254740991"),
    ("spec.suspend", "maybe", "spec.suspend", "valid boolean"),
    ("spec.domain", "chemistry", "spec.domain", "should be 'math'"),
    ("spec.ttlSecondsAfterFinished", -1, "spec.ttlSecondsAfterFinished", "greater than or equal to 0"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "field", "fix"), BAD, ids=[f"{path}={value!r:.20}" for path, value, *_ in BAD]
)
def test_a_bad_field_is_refused_in_one_line_with_its_path_and_the_fix(
    path: str, value: Any, field: str, fix: str
) -> None:
    (line,) = problems(edited(path, value))
    assert line.startswith(f"{field}: ")
    assert fix in line


def test_all_faults_of_a_run_are_told_at_once() -> None:
    document = run_document(seed=-1, suspend="maybe", responses={"candidates": 0})
    assert [line.partition(":")[0] for line in problems(document)] == [
        "spec.seed",
        "spec.responses.model",
        "spec.responses.candidates",
        "spec.suspend",
    ]


def test_a_bad_item_does_not_make_its_list_look_empty() -> None:
    lines = problems(run_document(generators=[{"name": "a", "model": "writer", "questions": 0}]))
    assert [line.partition(":")[0] for line in lines] == ["spec.generators.0.questions"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [", "not YAML"),
        ("- 1\n- 2", "a list, expected one object with apiVersion and kind"),
        ("", "empty, expected one object"),
        ("just text", "a str, expected one object"),
    ],
)
def test_a_file_that_is_no_run_is_refused_by_name(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ports.BadParametersError) as caught:
        run_file.load(path)
    assert str(path) in str(caught.value)
    assert fault in str(caught.value)


def test_a_missing_file_and_a_file_of_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(run_file.RunFileError, match=r"none.yaml: .*\n.*cannot be read: No such file"):
        run_file.load(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(run_file.RunFileError, match="not YAML"):
        run_file.load(tmp_path / "bytes.yaml")


def test_numbers_in_a_file_are_what_kubectl_reads(tmp_path: Path) -> None:
    text = yaml.safe_dump(run_document(fineTuning={"learningRate": "RATE", "epochs": "EPOCHS"}))
    path = tmp_path / "run.yaml"
    path.write_text(text.replace("RATE", "2e-5").replace("EPOCHS", "1E+1"))
    training = run_file.load(path).spec.fine_tuning
    assert training is not None
    assert (training.learning_rate, training.epochs) == (2e-5, 10)


@pytest.mark.parametrize("value", ["2", True, 1.5])
def test_text_is_no_number_and_a_number_is_no_text(value: Any) -> None:
    (line,) = problems(edited("spec.generators.0.questions", value))
    assert line.startswith("spec.generators.0.questions: input should be a valid integer")


def test_null_is_the_default_but_where_it_means_none() -> None:
    spec = make_run(fineTuning=None, publish=None, seed=None).spec
    assert spec.fine_tuning is None
    assert (spec.publish.license, spec.seed) == ("other", 20_241_024)


def test_what_is_not_enabled_is_left_out_as_null_leaves_it_out() -> None:
    filters = {"solvability": {"model": "writer"}, "duplicates": {"enabled": False}}
    off = make_run(fineTuning={"enabled": False}, filters=filters).spec
    null = make_run(fineTuning=None, filters=filters | {"duplicates": None}).spec
    assert off == null
    assert (off.fine_tuning, off.filters.duplicates) == (None, None)
    assert not [node for node in catalog.plan(off).nodes if node.stage == "train-question-generator"]


def test_metadata_may_carry_what_kubernetes_adds() -> None:
    document = edited("metadata", {"name": "x", "labels": {"a": "b"}, "uid": "1", "generation": 3})
    assert run_file.parse(document).metadata.namespace == "default"


# --- round trips


@pytest.mark.parametrize("name", ["tiny-math.yaml", "smollm2-math.yaml", "scalequest-math.yaml"])
def test_an_example_is_valid_and_has_a_plan(name: str) -> None:
    run = run_file.load(EXAMPLES / name)
    assert catalog.plan(run.spec).nodes[-1].name == "publish-dataset"


def fingerprints(run: ScaleQuestRun) -> dict[str, str]:
    nodes = catalog.plan(run.spec).nodes
    return {n.name: graph.stage_fingerprint(catalog.stage(n.stage), n, run.spec, {}) for n in nodes}


def test_stating_a_default_changes_no_fingerprint() -> None:
    """The API server writes defaults out; a run must meet the cache of one that was never there."""
    run = make_run()
    stated = ScaleQuestRun.model_validate_json(run.model_dump_json(by_alias=True))
    assert stated == run
    assert fingerprints(stated) == fingerprints(run)
    assert fingerprints(make_run(seed=run.spec.seed, fineTuning={"packing": False, "batchSize": 8, "epochs": 1})) == (
        fingerprints(run)
    )  # fmt: skip


# --- the paper's values

PAPER = [
    ("fine_tuning.learning_rate", 2e-5),
    ("fine_tuning.epochs", 1),
    ("fine_tuning.max_length", 256),
    ("fine_tuning.packing", True),
    ("fine_tuning.scheduler", "cosine"),
    ("fine_tuning.warmup_ratio", 0.03),
    ("fine_tuning.weight_decay", 0),
    ("fine_tuning.batch_size", 32),
    ("fine_tuning.adapters", None),
    ("preference.questions", 10_000),
    ("preference.learning_rate", 5e-7),
    ("preference.batch_size", 128),
    ("preference.epochs", 1),
    ("preference.scheduler", "cosine"),
    ("preference.beta", 0.1),
    ("preference.warmup_steps", 20),
    ("preference.warmup_ratio", 0),
    ("preference.max_length", 1024),
    ("preference.held_out", 100),
    ("preference.solvability_share", 0.5),
    ("preference.rewriter.temperature", 0),
    ("preference.rewriter.top_p", 1),
    ("preference.rewriter.max_tokens", 4096),
    ("preference.rewriter.endpoint.timeout_seconds", 45),
    ("generators.0.temperature", 1.0),
    ("generators.0.top_p", 0.99),
    ("generators.0.max_tokens", 512),
    ("generators.0.difficulty", None),
    ("filters.language.keep", ("en",)),
    ("filters.contamination.ngram", 13),
    ("filters.contamination.benchmarks", ()),
    ("filters.solvability.mode", "reasoned"),
    ("filters.solvability.temperature", 0),
    ("filters.solvability.max_tokens", 2048),
    ("filters.difficulty.scorer", "train"),
    ("responses.candidates", 5),
    ("responses.temperature", 0.7),
    ("responses.top_p", 0.95),
    ("responses.max_tokens", 2048),
    ("selection.method", "reward"),
    ("selection.min_score", None),
    ("selection.min_agreement", 0),
]


@pytest.mark.parametrize(("path", "value"), PAPER, ids=[path for path, _ in PAPER])
def test_a_default_is_the_papers_value(path: str, value: Any) -> None:
    place: Any = make_run(
        fineTuning={},
        preference={"rewriter": {"endpoint": {"url": "http://127.0.0.1/v1", "model": "m"}}},
        filters={"solvability": {"model": "solver"}, "difficulty": {"base": "solver", "solver": "solver"}},
        responses={"model": "solver"},
        selection={"model": "reward"},
    ).spec
    for name in path.split("."):
        place = place[int(name)] if name.isdecimal() else getattr(place, name)
    assert place == value


def test_a_student_has_the_papers_values_even_while_none_is_trained() -> None:
    from scalequest_jobs.contract.training import Student

    student = Student(model=next(iter(MODELS)))
    assert (student.epochs, student.learning_rate, student.scheduler) == (3, 1e-5, "cosine")

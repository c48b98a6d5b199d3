"""The stage graph: order, what may start, and what a fingerprint covers."""

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import MODELS, make_run
from scalequest_jobs import catalog
from scalequest_jobs.contract import graph
from scalequest_jobs.contract.artifact import ArtifactRef
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import DATASET, MODEL, Node, Parameters, Role, Stage

SPEC = make_run().spec


def toy(name: str, *nodes: Node, output: str = "questions") -> Stage:
    """Return a stage that has these nodes in every run and does nothing."""
    return Stage(
        name=name,
        version=1,
        role=Role.CPU,
        output=output,
        parameters=Parameters,
        nodes=lambda _spec: nodes,
        run=lambda _context: None,
        source="none",
    )


def node(name: str, **inputs: str) -> Node:
    return Node(name=name, stage=name, parameters=Parameters(), inputs=inputs)


def build(nodes: list[Node]) -> graph.Graph:
    return graph.build([toy(each.name, each) for each in nodes], SPEC)


@st.composite
def dags(draw: st.DrawFn) -> list[Node]:
    """Return nodes in any order, each waiting for some of those before it in a hidden order."""
    count = draw(st.integers(1, 12))
    made = []
    for place in range(count):
        sources = draw(st.sets(st.integers(0, max(place - 1, 0)), max_size=3)) if place else set()
        made.append(node(f"n{place}", **{f"in{source}": f"n{source}" for source in sources}))
    return draw(st.permutations(made))


@given(dags())
def test_every_node_comes_after_its_inputs_and_none_is_lost(nodes: list[Node]) -> None:
    ordered = build(nodes).nodes
    assert sorted(each.name for each in ordered) == sorted(each.name for each in nodes)
    place = {each.name: number for number, each in enumerate(ordered)}
    assert all(place[source] < place[each.name] for each in ordered for source in each.inputs.values())


@given(dags(), st.randoms(use_true_random=False))
def test_a_run_ends_whatever_finishes_first_and_nothing_starts_too_early(
    nodes: list[Node], rng: random.Random
) -> None:
    plan = build(nodes)
    finished: set[str] = set()
    for _ in nodes:
        offered = graph.ready(plan, finished)
        assert offered
        for each in offered:
            assert each.name not in finished
            assert set(each.inputs.values()) <= finished
        finished.add(rng.choice(offered).name)
    assert graph.ready(plan, finished) == ()
    assert finished == {each.name for each in nodes}


def test_nodes_that_wait_for_each_other_are_refused() -> None:
    with pytest.raises(graph.GraphError, match=r"wait for each other: \['b', 'c'\]"):
        build([node("a"), node("b", x="c", y="a"), node("c", x="b")])
    with pytest.raises(graph.GraphError, match=r"wait for each other: \['a'\]"):
        build([node("a", x="a")])


def test_an_input_that_names_no_node_is_refused() -> None:
    with pytest.raises(graph.GraphError, match=r"b waits for \['nobody'\], which this run does not have"):
        build([node("a"), node("b", x="a", y="nobody")])


def test_two_nodes_of_one_name_are_refused() -> None:
    with pytest.raises(graph.GraphError, match="node names repeat"):
        build([node("a"), node("a")])


def test_a_star_stands_for_everything_upstream_and_for_nothing_else() -> None:
    plan = build([node("a"), node("b", x="a"), node("aside"), node("end", **{"x": "b", "stage:*": "*"})])
    assert plan["end"].inputs == {"x": "b", "stage:a": "a", "stage:b": "b"}


# --- the catalog's graph

CUT = {"keep": "threshold", "minimum": 0.2}
TRAINED = {"scorer": "train", "base": "solver", "solver": "solver"}


def two_generators(**first: Any) -> list[dict[str, Any]]:
    return [
        {"name": "a", "model": "writer", "questions": 60, **first},
        {"name": "b", "model": "writer", "questions": 60},
    ]


def filters(**more: Any) -> dict[str, Any]:
    return {"solvability": {"model": "solver"}, **more}


def upstream(plan: graph.Graph, name: str) -> set[str]:
    direct = {source for key, source in plan[name].inputs.items() if not key.startswith("stage:")}
    return direct.union(*(upstream(plan, source) for source in direct))


def names(nodes: tuple[Node, ...]) -> set[str]:
    return {each.name for each in nodes}


def test_branches_of_two_generators_may_run_side_by_side() -> None:
    plan = catalog.plan(make_run(generators=two_generators()).spec)
    done = {"import-questions@seeds"} | {f"fetch-model@{name}" for name in ("writer", "solver", "reward")}
    for stage in (
        "train-question-generator",
        "sample-preference-questions",
        "rewrite-questions",
        "build-preference-pairs",
        "train-question-preference",
        "generate-questions",
    ):
        both = {f"{stage}@a", f"{stage}@b"}
        assert names(graph.ready(plan, done)) == both
        assert f"{stage}@b" in names(graph.ready(plan, done | {f"{stage}@a"}))
        done |= both
    assert names(graph.ready(plan, done)) == {"clean-questions"}
    assert names(graph.ready(plan, done - {"generate-questions@b"})) == {"generate-questions@b"}


def test_publishing_reads_the_manifest_of_every_stage_before_it() -> None:
    plan = catalog.plan(make_run().spec)
    read = {source for key, source in plan["publish-dataset"].inputs.items() if key.startswith("stage:")}
    assert read == upstream(plan, "publish-dataset") == names(plan.nodes) - {"publish-dataset"}


def test_publishing_does_not_wait_for_a_model_that_nothing_uses() -> None:
    plan = catalog.plan(make_run(models={**MODELS, "spare": {"path": "models/spare"}}).spec)
    assert "fetch-model@spare" in names(plan.nodes)
    assert "fetch-model@spare" not in plan["publish-dataset"].inputs.values()


@pytest.mark.parametrize("cut", [CUT, {"keep": "histogram", "bins": [1, 1]}])
def test_difficulty_is_scored_before_solvability_for_a_generator_with_a_cut(cut: dict[str, Any]) -> None:
    spec = make_run(generators=two_generators(difficulty=cut), filters=filters(difficulty=TRAINED)).spec
    plan = catalog.plan(spec)
    assert "score-difficulty@a" in plan["judge-solvability"].inputs.values()
    assert "score-difficulty@b" not in names(plan.nodes)
    assert "train-difficulty-scorer" in upstream(plan, "score-difficulty@a")


def test_nothing_is_scored_without_a_cut_or_without_a_scoring_model() -> None:
    for spec in (
        make_run(filters=filters(difficulty=TRAINED)).spec,
        make_run(
            generators=two_generators(difficulty=CUT), filters=filters(difficulty={"scorer": "passRate"})
        ).spec,
    ):
        assert not [name for name in names(catalog.plan(spec).nodes) if name.startswith("score-difficulty")]


def test_leaving_a_part_out_of_the_spec_leaves_its_stages_out() -> None:
    plan = catalog.plan(make_run(preference=None, fineTuning=None, selection={"method": "majority"}).spec)
    stages = {each.stage for each in plan.nodes}
    assert not stages & {
        "train-question-generator",
        "train-question-preference",
        "sample-preference-questions",
        "rewrite-questions",
        "build-preference-pairs",
        "score-responses",
    }
    assert plan["generate-questions@a"].inputs == {"model": "fetch-model@writer"}


def train_student(spec: Spec) -> tuple[Node, ...]:
    return (node("train-student", dataset="publish-dataset", model="fetch-model@writer"),)


def evaluate_student(spec: Spec) -> tuple[Node, ...]:
    return (node("evaluate-student", model="train-student"),)


def test_a_student_is_two_more_stages_and_no_change_of_the_graph() -> None:
    stages = (
        *catalog.STAGES,
        replace(toy("evaluate-student", output=DATASET), nodes=evaluate_student),
        replace(toy("train-student", output=MODEL), nodes=train_student),
    )
    plan = graph.build(stages, SPEC)
    before = names(catalog.plan(SPEC).nodes)
    assert names(plan.nodes) == before | {"train-student", "evaluate-student"}
    assert "train-student" not in names(graph.ready(plan, before - {"publish-dataset"}))
    assert names(graph.ready(plan, before)) == {"train-student"}
    assert names(graph.ready(plan, before | {"train-student"})) == {"evaluate-student"}
    assert "train-student" not in plan["publish-dataset"].inputs.values()


# --- fingerprints

REF = ArtifactRef(key="k", sha256="0" * 64, content="content")


def fingerprint_of(
    name: str,
    *,
    inputs: Mapping[str, ArtifactRef] | None = None,
    engine: str = "engine",
    version: int | None = None,
    **spec: Any,
) -> str:
    made = make_run(**spec).spec
    each = catalog.plan(made)[name]
    stage = catalog.stage(each.stage)
    if version is not None:
        stage = replace(stage, version=version)
    return graph.stage_fingerprint(stage, each, made, inputs or {"x": REF}, engine)


QUESTIONS = "generate-questions@a"
REWRITES = "rewrite-questions@a"


def rewriter(**endpoint: Any) -> dict[str, Any]:
    base = {"url": "http://127.0.0.1:9/v1", "model": "teacher"}
    return {"questions": 24, "rewriter": {"endpoint": {**base, **endpoint}}}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (QUESTIONS, {"generators": [{"name": "a", "model": "writer", "questions": 61}]}),
        (QUESTIONS, {"generators": [{"name": "a", "model": "writer", "questions": 60, "temperature": 0.9}]}),
        (QUESTIONS, {"seed": 7}),
        (QUESTIONS, {"engine": "other"}),
        (QUESTIONS, {"version": 99}),
        (QUESTIONS, {"compute": {"engine": {"dtype": "float32"}}}),
        (QUESTIONS, {"inputs": {"x": REF.model_copy(update={"content": "other"})}}),
        (QUESTIONS, {"inputs": {"y": REF}}),
        (QUESTIONS, {"inputs": {"x": REF, "y": REF}}),
        (REWRITES, {"preference": rewriter(model="other")}),
        (REWRITES, {"prompts": {"rewriteDifficulty": "Harder: {question}"}}),
        ("judge-solvability", {"prompts": {"solvability": "Yes or No?\n{question}"}}),
        ("generate-responses", {"responses": {"model": "solver", "candidates": 4}}),
        ("train-question-generator@a", {"fineTuning": {"packing": False, "batchSize": 9}}),
    ],
)
def test_a_fingerprint_covers_what_changes_the_data(name: str, change: dict[str, Any]) -> None:
    assert fingerprint_of(name, **change) != fingerprint_of(name)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (QUESTIONS, {"compute": {"stages": {"generate-questions": {"shards": 7}}}}),
        (QUESTIONS, {"compute": {"stages": {"generate-questions": {"chunkRows": 3}}}}),
        (QUESTIONS, {"compute": {"stages": {"generate-questions": {"resources": {"cpu": "2"}}}}}),
        (QUESTIONS, {"compute": {"engine": {"window": 17, "enforceEager": True, "maxSequences": 3}}}),
        (QUESTIONS, {"compute": {"profile": "h100"}}),
        (QUESTIONS, {"inputs": {"x": REF.model_copy(update={"key": "other", "sha256": "1" * 64})}}),
        (QUESTIONS, {"budget": {"maxGpuHours": 1}, "retries": {"failures": 9}, "suspend": True}),
        (QUESTIONS, {"storage": {"bucket": "other", "endpoint": "http://127.0.0.1:9"}}),
        (QUESTIONS, {"responses": {"model": "solver", "candidates": 9}}),
        (REWRITES, {"preference": rewriter(url="http://other/v1")}),
        (REWRITES, {"preference": rewriter(promptUsdPerMillion=3, completionUsdPerMillion=9, maxCostUsd=1)}),
        (REWRITES, {"preference": rewriter(apiKeySecret="key", concurrency=2, requestsPerMinute=60)}),
    ],
)
def test_a_fingerprint_leaves_out_what_changes_the_work_alone(name: str, change: dict[str, Any]) -> None:
    assert fingerprint_of(name, **change) == fingerprint_of(name)


def test_two_generators_of_equal_settings_have_fingerprints_of_their_own() -> None:
    """They share model and parameters but not seeds."""
    spec = {"generators": two_generators()}
    assert fingerprint_of("generate-questions@a", **spec) != fingerprint_of("generate-questions@b", **spec)


def test_the_catalog_names_its_stages_in_the_error_for_an_unknown_one() -> None:
    with pytest.raises(KeyError, match=r"no stage 'train-nobody'; the stages are .*publish-dataset"):
        catalog.stage("train-nobody")

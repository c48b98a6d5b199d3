"""The Job of an attempt: golden bodies for each role and option, and what every body must hold.

`UPDATE_GOLDEN=1 pytest tests/unit/test_planning_job_body.py` writes the golden files anew; read the difference.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from operator_builders import NODE, make_profile, make_run, make_spec, make_store
from scalequest_jobs import catalog
from scalequest_jobs.contract import names, orders
from scalequest_jobs.contract.artifact import ArtifactRef
from scalequest_jobs.contract.launch import Env
from scalequest_jobs.contract.stage import RunIdentity
from scalequest_operator.planning import job_body

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "jobs"

TRAINED = {"fineTuning": {"packing": False, "batchSize": 8}}
REWRITTEN = {
    **TRAINED,
    "preference": {
        "questions": 24,
        "rewriter": {
            "endpoint": {"url": "https://api.example/v1", "model": "teacher", "apiKeySecret": "teacher-key"}
        },
    },
}
HUB = {"hub": "owner/model", "revision": "a" * 40}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A body that is worth reading as a whole."""

    node: str = NODE
    spec: dict[str, Any] = field(default_factory=dict)
    profile: dict[str, Any] = field(default_factory=dict)
    store: dict[str, Any] = field(default_factory=dict)
    attempt: dict[str, Any] = field(default_factory=dict)


def roles(**pod: Any) -> dict[str, Any]:
    """Return every role with an image and a GPU where it computes."""
    return {
        role: {
            "image": f"registry.example/{role}@sha256:1",
            "resources": {"cpu": "8", "memory": "64Gi"} | ({} if role == "cpu" else {"nvidia.com/gpu": "1"}),
            "pod": pod,
        }
        for role in ("cpu", "train", "generate", "score")
    }


CASES = {
    "cpu": Case(node="clean-questions", profile={"roles": roles()}),
    "train": Case(node="train-question-generator@a", spec=TRAINED, profile={"roles": roles()}),
    "generate": Case(profile={"roles": roles()}),
    "score": Case(node="score-responses", profile={"roles": roles()}),
    "queue": Case(profile={"queue": "gpus", "priorityClass": "batch"}),
    "suspended-with-deadline": Case(attempt={"suspended": True, "deadline_seconds": 500, "number": 3}),
    "placed": Case(
        profile={
            "roles": roles(),
            "nodeSelector": {"nvidia.com/gpu.product": "H100"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "runtimeClass": "nvidia",
            "serviceAccount": "stages",
            "imagePullSecrets": ["registry"],
            "environment": {"HTTPS_PROXY": "http://proxy.example:3128", "SCALEQUEST_STORE": "never taken"},
            "volumes": [
                {"name": "models", "claim": "models", "mountPath": "/volumes/models", "version": "2026-03"},
                {
                    "name": "work",
                    "claim": "work",
                    "mountPath": "/volumes/w",
                    "readOnly": False,
                    "subPath": "a",
                },
            ],
        }
    ),
    "overlay": Case(
        profile={
            "roles": roles(
                schedulerName="other",
                securityContext={"fsGroup": 1000},
                containers=[
                    {"name": "worker", "env": [{"name": "EXTRA", "value": "1"}], "lifecycle": {}},
                    {"name": "sidecar", "image": "registry.example/proxy"},
                ],
                volumes=[{"name": "scratch", "emptyDir": {"sizeLimit": "1Ti"}}],
                tolerations=[{"key": "spot", "operator": "Exists"}],
            )
        }
    ),
    "secrets": Case(
        node="rewrite-questions@a",
        spec={**REWRITTEN, "storage": {"bucket": "bucket", "prefix": "team/a", "credentialsSecret": "mine"}},
        store={"caConfigMap": "s3-ca", "caFile": "/ca.crt", "region": "eu-1"},
    ),
    "hub": Case(
        node="fetch-model@writer",
        spec={"models": {"writer": HUB, "solver": HUB, "reward": HUB}},
        profile={"hubEndpoint": "https://hub.example", "hubTokenSecret": "hub-token"},
    ),
    "override": Case(
        spec={
            "compute": {
                "stages": {"generate-questions": {"shards": 32, "resources": {"nvidia.com/gpu": "4"}}}
            }
        },
        profile={"roles": roles()},
    ),
}


def body_of(case: Case) -> dict[str, Any]:
    spec = make_spec(**case.spec)
    run = make_run(spec=spec)
    node = catalog.plan(spec)[case.node]
    stage = catalog.stage(node.stage)
    inputs = {name: ArtifactRef(key=f"runs/x/{name}.json", sha256="a" * 64) for name in node.inputs}
    identity = RunIdentity(name=run.name, namespace=run.namespace, uid=run.uid)
    order = orders.make(stage, node, spec, run=identity, inputs=inputs, engine_identity="image")
    attempt = job_body.Attempt(
        run=run,
        spec=spec,
        profile=make_profile(**case.profile),
        store=make_store(**case.store),
        order=order,
        order_key="runs/x/orders/order.json",
        order_sha256="0" * 64,
        role=node.role or stage.role,
        **{"number": 1, **case.attempt},
    )
    return job_body.job_body(attempt)


@pytest.fixture(params=sorted(CASES))
def body(request: pytest.FixtureRequest) -> dict[str, Any]:
    return body_of(CASES[request.param])


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_body_is_the_golden_one(name: str) -> None:
    path = GOLDEN / f"{name}.yaml"
    sent = json.loads(json.dumps(body_of(CASES[name])))
    text = yaml.safe_dump(sent, sort_keys=False, width=110)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_every_golden_file_has_its_case() -> None:
    assert sorted(path.stem for path in GOLDEN.iterdir()) == sorted(CASES)


def containers(body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body["spec"]["template"]["spec"]["containers"]
    return [container for container in found if container["name"] == "worker"]


ALLOWED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"}
ALLOWED_VOLUMES |= {"projected", "secret"}


def violations(body: dict[str, Any]) -> Iterator[str]:
    """Yield what Pod Security's level "restricted" would refuse, by its published controls."""
    pod = body["spec"]["template"]["spec"]
    for flag in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(flag):
            yield flag
    if pod["securityContext"].get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "seccompProfile"
    if pod["securityContext"].get("runAsNonRoot") is not True or pod["securityContext"].get("runAsUser") == 0:
        yield "runAsNonRoot"
    for volume in pod["volumes"]:
        if not set(volume) - {"name"} <= ALLOWED_VOLUMES:
            yield f"volume {volume}"
    for container in containers(body):
        context = container["securityContext"]
        if context["allowPrivilegeEscalation"] is not False or context.get("privileged"):
            yield "allowPrivilegeEscalation"
        if context["capabilities"] != {"drop": ["ALL"]}:
            yield "capabilities"


def test_every_body_passes_pod_security_restricted(body: dict[str, Any]) -> None:
    assert list(violations(body)) == []
    assert containers(body)[0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert body["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_no_body_holds_a_secret_only_the_names_of_secrets(body: dict[str, Any]) -> None:
    for variable in containers(body)[0]["env"]:
        assert "secretKeyRef" not in str(variable)
    secrets = [
        volume["secret"] for volume in body["spec"]["template"]["spec"]["volumes"] if "secret" in volume
    ]
    assert secrets
    assert all(set(secret) == {"secretName", "defaultMode"} for secret in secrets)


def test_every_mount_has_its_volume_and_every_name_is_used_once(body: dict[str, Any]) -> None:
    pod = body["spec"]["template"]["spec"]
    volumes = [volume["name"] for volume in pod["volumes"]]
    assert len(set(volumes)) == len(volumes)
    assert {mount["name"] for mount in containers(body)[0]["volumeMounts"]} <= set(volumes)
    variables = [variable["name"] for variable in containers(body)[0]["env"]]
    assert len(set(variables)) == len(variables)


def test_every_body_can_be_found_again_and_goes_with_its_run(body: dict[str, Any]) -> None:
    metadata = body["metadata"]
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("ScaleQuestRun", make_run().uid, True)
    assert names.run_of(metadata["labels"]) == ("run", make_run().uid)
    template = body["spec"]["template"]["metadata"]
    assert names.run_of(template["labels"]) == ("run", make_run().uid)
    assert template["annotations"][names.Annotation.NODE] == metadata["annotations"][names.Annotation.NODE]
    assert all(len(value) <= 63 for value in metadata["labels"].values())
    assert len(f"{metadata['name']}-{body['spec']['completions'] - 1}") <= 63


def test_a_profile_cannot_send_a_worker_to_another_order_or_store() -> None:
    env = {item["name"]: item.get("value") for item in containers(body_of(CASES["placed"]))[0]["env"]}
    assert env[Env.STORE] == "s3+http://s3.example:9000/bucket"
    assert env["HTTPS_PROXY"] == "http://proxy.example:3128"


def test_a_cpu_limit_is_never_set_and_every_other_limit_is_its_request(body: dict[str, Any]) -> None:
    resources = containers(body)[0]["resources"]
    limits = resources.get("limits", {})
    assert "cpu" not in limits
    assert limits == {name: value for name, value in resources.get("requests", {}).items() if name != "cpu"}


def test_only_the_stage_that_needs_a_secret_gets_it() -> None:
    def mounted(case: Case) -> set[str]:
        pod = body_of(case)["spec"]["template"]["spec"]
        return {volume["name"] for volume in pod["volumes"] if "secret" in volume}

    assert mounted(CASES["secrets"]) == {"s3-credentials", "api-key"}
    assert mounted(Case(node="clean-questions", spec=REWRITTEN)) == {"s3-credentials"}
    hub = CASES["hub"]
    assert mounted(hub) == {"s3-credentials", "hub-token"}
    assert mounted(Case(spec=hub.spec, profile=hub.profile)) == {"s3-credentials"}


def test_the_same_attempt_has_the_same_body_and_another_attempt_another_name() -> None:
    assert body_of(CASES["generate"]) == body_of(CASES["generate"])
    second = body_of(Case(profile={"roles": roles()}, attempt={"number": 2}))
    first = body_of(CASES["generate"])
    assert second["metadata"]["name"] != first["metadata"]["name"]
    assert second["spec"]["template"]["spec"] == first["spec"]["template"]["spec"]

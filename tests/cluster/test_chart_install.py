"""The chart in a real API server: admission, permissions, install, upgrade, uninstall."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from cluster.lab import cluster, helm, waiting
from cluster.lab.kubectl import KubectlError
from scalequest_jobs.contract import crd

pytestmark = pytest.mark.cluster

MINIMAL, NAMESPACED, FULL = (
    helm.CHART / "ci" / f"{name}-values.yaml" for name in ("minimal", "namespaced", "full")
)
SYSTEM = "scalequest-system"
ACCOUNT = f"system:serviceaccount:{SYSTEM}:scalequest"
RUN = """
apiVersion: scalequest.io/v1alpha1
kind: ScaleQuestRun
metadata: {name: my-run}
spec:
  storage: {bucket: scalequest}
  seedQuestions: {key: seeds.jsonl, column: question}
  models: {writer: {key: models/writer}}
  generators: [{name: writer, model: writer, questions: 100}]
  filters: {solvability: {model: writer}}
  responses: {model: writer}
  selection: {method: majority}
"""
CRD = f"{crd.PLURAL}.{crd.GROUP}"


@pytest.fixture(scope="module")
def api_server() -> Iterator[cluster.Cluster]:
    with cluster.temporary("chart", cluster.Cluster(name="", num_nodes=0, has_object_store=False)) as running:
        for namespace in (SYSTEM, "team-a", "team-b", "team-c"):
            running.kubectl("create", "namespace", namespace)
        running.kubectl("label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted")
        yield running


@pytest.fixture
def run_helm(api_server: cluster.Cluster) -> Iterator[Callable[..., str]]:
    """Run Helm as the administrator; what the test installed is removed at the end, the CRD too."""

    def run(command: str, *arguments: str) -> str:
        return helm.run(
            command,
            "scalequest",
            *arguments,
            f"--namespace={SYSTEM}",
            kubeconfig=api_server.layout.kubeconfig,
        )

    yield run
    run("uninstall", "--ignore-not-found", "--wait")
    api_server.kubectl("delete", "crd", CRD, "--ignore-not-found", "--wait")


def is_allowed(running: cluster.Cluster, user: str, verb: str, resource: str, namespace: str) -> bool:
    """Ask the API server whether a user may do something; the resource is written as in `kubectl auth can-i`."""
    plural, _, group = resource.partition(".")
    asked = {"verb": verb, "resource": plural, "group": group, "namespace": namespace}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
    review = body | {"spec": {"user": user, "resourceAttributes": asked}}
    answer = json.loads(running.kubectl("create", "--filename=-", "--output=json", stdin=json.dumps(review)))
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize("values", [MINIMAL, NAMESPACED, FULL], ids=lambda file: file.stem)
def test_the_api_server_accepts_every_object(api_server: cluster.Cluster, values: Path) -> None:
    text = helm.run("template", "scalequest", str(helm.CHART), f"--namespace={SYSTEM}", f"--values={values}")
    answer = api_server.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-", stdin=text
    )
    objects = [body for body in yaml.safe_load_all(text) if body]
    assert len(answer.splitlines()) == len(objects)


def test_the_pod_satisfies_the_restricted_standard_and_a_root_pod_would_not(
    api_server: cluster.Cluster,
) -> None:
    text = helm.run("template", "scalequest", str(helm.CHART), f"--namespace={SYSTEM}", f"--values={MINIMAL}")
    (template,) = (
        body["spec"]["template"] for body in yaml.safe_load_all(text) if body["kind"] == "Deployment"
    )
    spec = template["spec"] | {"serviceAccountName": "default"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "operator", "namespace": SYSTEM},
        "spec": spec,
    }
    api_server.kubectl("create", "--dry-run=server", "--filename=-", stdin=json.dumps(pod))
    spec["securityContext"] |= {"runAsNonRoot": False}
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        api_server.kubectl("create", "--dry-run=server", "--filename=-", stdin=json.dumps(pod))


def test_the_account_works_in_every_namespace_and_reads_no_secret(
    api_server: cluster.Cluster, run_helm: Callable[..., str]
) -> None:
    run_helm("install", str(helm.CHART), f"--values={MINIMAL}")
    assert is_allowed(api_server, ACCOUNT, "create", "jobs.batch", "team-c")
    assert is_allowed(api_server, ACCOUNT, "watch", f"{crd.PLURAL}.{crd.GROUP}", "")
    assert is_allowed(api_server, ACCOUNT, "update", "leases.coordination.k8s.io", SYSTEM)
    assert not is_allowed(api_server, ACCOUNT, "update", "leases.coordination.k8s.io", "team-c")
    for verb in ("get", "list", "watch"):
        assert not is_allowed(api_server, ACCOUNT, verb, "secrets", "team-c")
        assert not is_allowed(api_server, ACCOUNT, verb, "secrets", SYSTEM)


def test_with_namespaces_the_account_works_in_those_alone(
    api_server: cluster.Cluster, run_helm: Callable[..., str]
) -> None:
    run_helm("install", str(helm.CHART), f"--values={NAMESPACED}")
    allowed = {
        namespace
        for namespace in ("team-a", "team-b", "team-c", SYSTEM, "")
        if is_allowed(api_server, ACCOUNT, "create", "jobs.batch", namespace)
    }
    assert allowed == {"team-a", "team-b"}


def test_a_user_who_may_edit_or_view_a_namespace_may_do_so_with_its_runs(
    api_server: cluster.Cluster, run_helm: Callable[..., str]
) -> None:
    run_helm("install", str(helm.CHART), f"--values={MINIMAL}")
    for role, user in (("edit", "ada"), ("view", "ben")):
        api_server.kubectl(
            "create",
            "rolebinding",
            f"{user}-{role}",
            f"--clusterrole={role}",
            f"--user={user}",
            "--namespace=team-a",
        )
    for verb, user in (("create", "ada"), ("watch", "ada"), ("get", "ben")):
        waiting.until(
            lambda verb=verb, user=user: is_allowed(api_server, user, verb, CRD, "team-a"),  # type: ignore[misc]
            f"{user} may {verb} runs",
        )
    assert not is_allowed(api_server, "ben", "create", CRD, "team-a")
    assert not is_allowed(api_server, "ada", "create", CRD, "team-b")


def test_an_upgrade_changes_the_configuration_but_no_pod(
    api_server: cluster.Cluster, run_helm: Callable[..., str]
) -> None:
    def generation() -> int:
        return int(
            api_server.kubectl.get("deployment", "scalequest", f"--namespace={SYSTEM}")["metadata"][
                "generation"
            ]
        )

    notes = run_helm("install", str(helm.CHART), f"--values={MINIMAL}")
    assert f"kubectl -n {SYSTEM} rollout status deployment/scalequest" in notes
    before = generation()
    option = "--set=configuration.profiles.default.queue=synthesis"
    run_helm("upgrade", str(helm.CHART), f"--values={MINIMAL}", option)
    stored = api_server.kubectl.get("configmap", "scalequest", f"--namespace={SYSTEM}")
    assert '"queue": "synthesis"' in stored["data"]["configuration.yaml"]
    assert generation() == before


def test_uninstalling_keeps_the_runs_and_a_new_release_takes_them_over(
    api_server: cluster.Cluster, run_helm: Callable[..., str]
) -> None:
    run_helm("install", str(helm.CHART), f"--values={MINIMAL}")
    api_server.kubectl("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=60s")
    api_server.kubectl("create", "--filename=-", "--namespace=team-a", stdin=RUN)
    run_helm("uninstall", "--wait")
    assert not api_server.kubectl.exists("deployment", "scalequest", f"--namespace={SYSTEM}")
    assert api_server.kubectl.exists(crd.PLURAL, "my-run", "--namespace=team-a")
    run_helm("install", str(helm.CHART), f"--values={MINIMAL}")
    assert api_server.kubectl.exists(crd.PLURAL, "my-run", "--namespace=team-a")

"""What real Helm makes of the chart."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from cluster.lab import helm
from scalequest_jobs.contract import crd
from scalequest_operator import __main__ as command_line
from scalequest_operator import cluster, configuration, generate

pytestmark = pytest.mark.cluster

VALUES = sorted((helm.CHART / "ci").glob("*-values.yaml"))
MINIMAL, NAMESPACED, FULL = (
    helm.CHART / "ci" / f"{name}-values.yaml" for name in ("minimal", "namespaced", "full")
)
PAGES = (helm.CHART / "README.md", helm.CHART.parents[1] / "docs" / "install.md")

Object = dict[str, Any]


def render(*values: Path, chart: Path = helm.CHART, options: Iterable[str] = ()) -> list[Object]:
    files = [f"--values={file}" for file in values]
    text = helm.run("template", "scalequest", str(chart), "--namespace=scalequest-system", *files, *options)
    return [body for body in yaml.safe_load_all(text) if body]


def of_kind(objects: Iterable[Object], *kinds: str) -> list[Object]:
    return [body for body in objects if body["kind"] in kinds]


def one(objects: Iterable[Object], kind: str) -> Object:
    (found,) = of_kind(objects, kind)
    return found


def own_roles(objects: Iterable[Object]) -> list[Object]:
    """Return the operator's roles: all but those that the built-in roles take in."""
    roles = of_kind(objects, "ClusterRole", "Role")
    return [
        role for role in roles if not any("aggregate-to" in label for label in role["metadata"]["labels"])
    ]


def permissions(role: Object) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def listed(rules: Iterable[cluster.Rule]) -> set[tuple[str, str, str]]:
    return {
        (rule.resource.group, "/".join(filter(None, (rule.resource.plural, rule.subresource))), verb)
        for rule in rules
        for verb in rule.verbs
    }


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_strict_lint_passes(values: Path) -> None:
    helm.run("lint", "--strict", str(helm.CHART), f"--values={values}")


def test_strict_lint_passes_without_values() -> None:
    helm.run("lint", "--strict", str(helm.CHART))


def test_the_operator_may_do_what_its_code_lists_and_nothing_else() -> None:
    objects = render(MINIMAL)
    assert {(role["kind"], role["metadata"]["name"]): permissions(role) for role in own_roles(objects)} == {
        ("ClusterRole", "scalequest"): listed(cluster.RULES),
        ("Role", "scalequest-lease"): listed(cluster.LEASE_RULES),
    }


def test_with_namespaces_it_may_do_the_same_in_each_of_them_and_nothing_in_the_cluster() -> None:
    objects = render(NAMESPACED)
    roles = {role["metadata"]["namespace"]: permissions(role) for role in of_kind(objects, "Role")}
    assert of_kind(objects, "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition") == []
    assert roles == {
        "team-a": listed(cluster.RULES),
        "team-b": listed(cluster.RULES),
        "scalequest-system": listed(cluster.LEASE_RULES),
    }


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_every_role_of_the_operator_is_bound_to_the_account_that_its_pod_uses(values: Path) -> None:
    objects = render(values)
    account = one(objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    bound = set()
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": account, "namespace": "scalequest-system"}
        ]
        bound.add((binding["roleRef"]["name"], binding["metadata"].get("namespace")))
    assert {
        (role["metadata"]["name"], role["metadata"].get("namespace")) for role in own_roles(objects)
    } == bound


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_the_operator_reads_the_configuration_as_it_was_given(values: Path) -> None:
    text = one(render(values), "ConfigMap")["data"]["configuration.yaml"]
    given = yaml.safe_load(values.read_text())["configuration"]
    assert configuration.parse(text) == configuration.Configuration.model_validate(given)


def test_the_crd_of_the_chart_is_the_crd_of_the_code() -> None:
    body = one(render(MINIMAL), "CustomResourceDefinition")
    assert body["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert body["metadata"].pop("labels")
    assert body == crd.crd()


def test_the_crd_goes_with_the_release_when_it_is_not_to_be_kept() -> None:
    assert "annotations" not in one(render(FULL), "CustomResourceDefinition")["metadata"]


def test_braces_in_the_crd_survive_helm(tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    shutil.copytree(helm.CHART, chart)
    text = crd.render().replace("One run:", "One {{ .Values.run }} of {{- braces }}:")
    (chart / "templates" / "crd.yaml").write_text(generate.crd_template(text))
    body = one(render(MINIMAL, chart=chart), "CustomResourceDefinition")
    assert body["spec"] == yaml.safe_load(text)["spec"]


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_the_pod_sets_only_variables_that_the_command_line_reads(values: Path) -> None:
    container = one(render(values), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    (command,) = container["args"]
    group = typer.main.get_group(command_line.app)
    known = {option.envvar for option in group.commands[command].params}
    assert {variable["name"] for variable in container["env"]} <= known


def test_the_pod_finds_every_file_that_the_configuration_names() -> None:
    pod = one(render(FULL), "Deployment")["spec"]["template"]["spec"]
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert set(mounts.values()) == set(volumes)
    for store in yaml.safe_load(FULL.read_text())["configuration"]["stores"]:
        assert store["credentialsFolder"] in mounts
    assert volumes[mounts["/etc/scalequest/stores/archive"]]["secret"]["secretName"] == "archive-keys"
    variables = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
    folder, _, file = variables["SCALEQUEST_OPERATOR_CONFIG"].rpartition("/")
    assert file in one(render(FULL), "ConfigMap")["data"]
    assert volumes[mounts[folder]]["configMap"]["name"] == one(render(FULL), "ConfigMap")["metadata"]["name"]


def test_a_digest_wins_over_the_tag_and_the_version_is_the_default() -> None:
    def image(*options: str) -> str:
        pod = one(render(MINIMAL, options=options), "Deployment")["spec"]["template"]["spec"]
        return str(pod["containers"][0]["image"])

    digest = f"sha256:{'ab' * 32}"
    assert image() == "registry.example/scalequest-operator:0.1.0"
    assert image("--set=image.tag=v2") == "registry.example/scalequest-operator:v2"
    assert (
        image("--set=image.tag=v2", f"--set=image.digest={digest}")
        == f"registry.example/scalequest-operator@{digest}"
    )


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("replica", 2, "additional properties 'replica' not allowed"),
        ("replicas", "two", "at '/replicas': got string, want integer"),
        ("image.pullPolicy", "Sometimes", "at '/image/pullPolicy': value must be one of 'Always'"),
        ("image.repository", "", "image.repository is empty: name the repository"),
        ("workers", 0, "at '/workers': minimum: got 0, want 1"),
        ("watchNamespaces", ["Team_A"], "at '/watchNamespaces/0': 'Team_A' does not match pattern"),
        ("configuration.stores", [], "configuration.stores is empty: give at least one S3 server"),
        ("configuration.stores", [{"endpoint": "https://s3.example"}], "missing property 'credentialsFolder'"),
        ("configuration.profiles", {}, "configuration.profiles is empty: give at least one profile"),
        ("configuration.profiles.Big_One", {}, "additional properties 'Big_One' not allowed"),
        ("configuration.profiles.default.imagee", "x", "additional properties 'imagee' not allowed"),
        ("configuration.profiles.default.roles", {"cpu": {"image": "x"}}, "missing properties 'train', 'generate'"),
        ("configuration.profiles.default.roles.judge", {"image": "x"}, "value must be one of 'cpu', 'train'"),
        ("configuration.profiles.default.environment", {"A": 1}, "/environment/A': got number, want string"),
        ("storeCredentials", [], "credentialsFolder is /etc/scalequest/stores/main, which nothing mounts: add {secret: "),
        ("configuration.stores.0.endpoint", "s3.example", "does not match pattern '^https?://"),
        ("configuration.stores.0.caFile", "/etc/ca/ca.crt", "add {configMap: NAME, folder: /etc/ca} to storeAuthorities"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_place_and_the_fix(
    place: str, value: object, words: str, tmp_path: Path
) -> None:
    values = yaml.safe_load(MINIMAL.read_text())
    *above, last = place.split(".")
    target = values
    for step in above:
        target = target[int(step)] if step.isdigit() else target[step]
    target[last] = value
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(helm.HelmError, match=re.escape(words)):
        render(tmp_path / "values.yaml")


def test_every_values_file_in_the_documents_is_accepted(tmp_path: Path) -> None:
    blocks = [
        block
        for page in PAGES
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
        if "configuration:" in block
    ]
    assert len(blocks) >= len(PAGES)
    for block in blocks:
        (tmp_path / "values.yaml").write_text(block)
        configuration.parse(one(render(tmp_path / "values.yaml"), "ConfigMap")["data"]["configuration.yaml"])

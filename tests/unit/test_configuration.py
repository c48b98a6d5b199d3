"""The operator's configuration file."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from operator_builders import configuration_document
from scalequest_operator import configuration
from scalequest_operator.errors import ConfigurationError


def parsed(**profile: Any) -> configuration.Configuration:
    return configuration.parse(yaml.safe_dump(configuration_document(**profile)))


def without_image(role: str) -> dict[str, Any]:
    roles = {name: {"image": "i"} for name in ("cpu", "train", "generate", "score") if name != role}
    return configuration_document(roles=roles)


def test_a_minimal_file_is_read_and_its_first_store_is_the_default() -> None:
    read = parsed()
    assert set(read.profiles) == {"default"}
    assert read.store(None) is read.stores[0]
    assert read.store("http://s3.example:9000") is read.stores[0]
    assert read.store("http://other:9000") is None


BAD = [
    ("[", "is not YAML"),
    ("", "is not valid"),
    ("stores: []\nprofiles: {}", "stores"),
    (yaml.safe_dump({**configuration_document(), "unknown": 1}), "unknown"),
    (yaml.safe_dump(without_image("train")), "give train an image"),
    (yaml.safe_dump(configuration_document(store="http://missing:9000")), "expected one of"),
    (yaml.safe_dump(configuration_document(scratch="much")), "scratch"),
    (yaml.safe_dump(configuration_document(runAsUser=0)), "runAsUser"),
    (yaml.safe_dump(configuration_document(graceSeconds=0)), "graceSeconds"),
    (yaml.safe_dump(configuration_document(environment={"lower": "x"})), "environment"),
    (
        yaml.safe_dump(configuration_document(volumes=[{"name": "v", "claim": "c", "mountPath": "rel"}])),
        "mountPath",
    ),
    (yaml.safe_dump({**configuration_document(), "profiles": {"Not A Name": {}}}), "Not A Name"),
]


@pytest.mark.parametrize(("text", "words"), BAD)
def test_a_file_that_is_not_valid_says_where(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configuration.parse(text, "profiles.yaml")
    assert "profiles.yaml" in str(caught.value)
    assert words in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    text = yaml.safe_dump(configuration_document(scratch="much", runAsUser=0))
    with pytest.raises(ConfigurationError) as caught:
        configuration.parse(text)
    assert "scratch" in str(caught.value)
    assert "runAsUser" in str(caught.value)


def test_a_file_that_cannot_be_read_is_named_with_the_way_out(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            configuration.load(path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="binary"):
        configuration.load(tmp_path / "binary")


def test_a_path_belongs_to_the_innermost_volume_that_holds_it() -> None:
    volumes = [
        {"name": "a", "claim": "a", "mountPath": "/volumes"},
        {"name": "b", "claim": "b", "mountPath": "/volumes/models/"},
    ]
    profile = parsed(volumes=volumes).profiles["default"]
    for path, name in (
        ("models/x", "b"),
        ("/volumes/models/x", "b"),
        ("modelsx/y", "a"),
        ("seeds.jsonl", "a"),
        ("/elsewhere/x", None),
    ):
        volume = profile.volume_of(path)
        assert (volume.name if volume else None) == name, path

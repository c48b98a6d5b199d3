"""What every `api.RunApi` does: the suite that the fake and the real one pass."""

from typing import Any

import pytest

import builders
from scalequest_jobs.remote import api, errors


def document(name: str, **spec: Any) -> api.Body:
    body = builders.run_document(**spec)
    return body | {"metadata": {"name": name, "namespace": "default"}}


class RunApiSuite:
    """Subclasses give the fixture `calls`: an API server whose namespace `default` takes runs."""

    def test_a_created_run_is_got_and_listed(self, calls: api.RunApi) -> None:
        created = calls.create("default", document("suite-created"))
        assert created.body["metadata"]["uid"]
        assert calls.get("default", "suite-created")["spec"]["storage"]["bucket"] == "bucket"
        assert "suite-created" in [body["metadata"]["name"] for body in calls.list("default")]

    def test_a_dry_run_answers_like_a_creation_and_stores_nothing(self, calls: api.RunApi) -> None:
        asked = calls.create("default", document("suite-dry"), dry_run=True)
        assert asked.body["metadata"]["name"] == "suite-dry"
        with pytest.raises(errors.NotFoundError, match="suite-dry"):
            calls.get("default", "suite-dry")

    def test_a_name_is_given_once(self, calls: api.RunApi) -> None:
        calls.create("default", document("suite-twice"))
        for dry_run in (True, False):
            with pytest.raises(errors.AlreadyExistsError):
                calls.create("default", document("suite-twice"), dry_run=dry_run)

    def test_an_unknown_field_is_refused_by_its_name(self, calls: api.RunApi) -> None:
        with pytest.raises(errors.RefusedError) as refused:
            calls.create("default", document("suite-unknown", unknown=1))
        assert [cause.field for cause in refused.value.causes] == ["spec.unknown"]

    def test_a_namespace_that_is_not_there_takes_no_run_and_has_none(self, calls: api.RunApi) -> None:
        body = document("suite-elsewhere") | {"metadata": {"name": "suite-elsewhere", "namespace": "nowhere"}}
        with pytest.raises(errors.NotFoundError, match="nowhere"):
            calls.create("nowhere", body)
        assert calls.list("nowhere") == []

    def test_a_patch_adds_a_field_and_raises_the_generation(self, calls: api.RunApi) -> None:
        before = calls.create("default", document("suite-patched")).body
        operations = [
            {"op": "test", "path": "/metadata/uid", "value": before["metadata"]["uid"]},
            {"op": "add", "path": "/spec/suspend", "value": True},
        ]
        after = calls.patch("default", "suite-patched", operations)
        assert after["spec"]["suspend"] is True
        assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
        again = calls.patch("default", "suite-patched", operations)
        assert again["metadata"]["generation"] == after["metadata"]["generation"]

    def test_a_patch_whose_test_fails_changes_nothing(self, calls: api.RunApi) -> None:
        calls.create("default", document("suite-guarded"))
        with pytest.raises(errors.RefusedError):
            calls.patch(
                "default",
                "suite-guarded",
                [
                    {"op": "test", "path": "/metadata/uid", "value": "another"},
                    {"op": "add", "path": "/spec/suspend", "value": True},
                ],
            )
        assert not calls.get("default", "suite-guarded")["spec"].get("suspend")

    def test_a_patch_of_a_run_that_is_not_there_says_so(self, calls: api.RunApi) -> None:
        with pytest.raises(errors.NotFoundError):
            calls.patch("default", "suite-missing", [{"op": "add", "path": "/spec/suspend", "value": True}])

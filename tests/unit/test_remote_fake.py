"""The runs in memory do what the real API server does (the same suite runs on one in `tests/cluster`)."""

import pytest

import fake_run_api
import run_api_suite


class TestFakeRunApi(run_api_suite.RunApiSuite):
    @pytest.fixture
    def calls(self) -> fake_run_api.FakeRunApi:
        return fake_run_api.FakeRunApi()

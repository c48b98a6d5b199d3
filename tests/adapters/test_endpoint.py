"""What every chat endpoint must do, and what only one behind HTTP can get wrong."""

import contextlib
import dataclasses
import email.utils
import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fake_endpoint
from fake_clock import FakeClock
from scalequest_jobs import ports, retry
from scalequest_jobs.engines import openai_answer, openai_endpoint, spend
from servers import chat

KEY = "sk-test-do-not-tell"


@pytest.fixture
def server() -> Iterator[chat.ChatServer]:
    with chat.running_chat() as running:
        yield running


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def settings(server: chat.ChatServer, tmp_path: Path) -> ports.EndpointSettings:
    (tmp_path / "api-key").write_text(f"{KEY}\n")
    return ports.EndpointSettings(
        url=f"{server.address}/v1/",
        model="writer-1",
        api_key_file=tmp_path / "api-key",
        timeout_seconds=20,
        retries=3,
        concurrency=4,
    )


@contextlib.contextmanager
def opened(
    settings: ports.EndpointSettings, clock: FakeClock | None = None, **changes: Any
) -> Iterator[openai_endpoint.OpenAiEndpoint]:
    """Open a client with a clock that does not wait, closed at the end."""
    changed = dataclasses.replace(settings, **changes)
    client = openai_endpoint.OpenAiEndpoint(changed, clock=clock or FakeClock(), draw=lambda: 0.5)
    with contextlib.closing(client):
        yield client


def request(index: int, text: str | None = None, max_tokens: int = 100) -> ports.ChatRequest:
    return ports.ChatRequest(
        chunk=index // 10,
        index=index,
        messages=(
            ports.Message(role="system", content="You rewrite."),
            ports.Message(role="user", content=text or f"question {index}"),
        ),
        temperature=0.25,
        top_p=0.75,
        max_tokens=max_tokens,
    )


def by_index(replies: list[ports.ChatReply]) -> dict[int, ports.ChatReply]:
    assert len({reply.index for reply in replies}) == len(replies)
    return {reply.index: reply for reply in replies}


def until_error(
    endpoint: ports.ChatEndpoint, requests: Iterable[ports.ChatRequest]
) -> tuple[list[ports.ChatReply], ports.StageError]:
    """Return the replies that came before the error, and the error."""
    received: list[ports.ChatReply] = []
    with pytest.raises(ports.StageError) as caught:
        received.extend(endpoint.complete(requests))  # extend keeps what came before the error
    return received, caught.value


# --- All endpoints -----------------------------------------------------------------------------


@pytest.fixture(params=["scripted", "openai"])
def endpoint(request: pytest.FixtureRequest) -> Iterator[ports.ChatEndpoint]:
    if request.param == "scripted":
        yield fake_endpoint.ScriptedEndpoint(
            refuse=lambda asked: "HTTP 400: too long" if asked.messages[-1].content == "too long" else ""
        )
        return
    server = request.getfixturevalue("server")
    server.for_text["too long"] = deque([chat.refusal(400, "maximum context length")])
    with opened(request.getfixturevalue("settings")) as client:
        yield client


def test_every_request_gets_its_own_reply(endpoint: ports.ChatEndpoint) -> None:
    replies = by_index(list(endpoint.complete(request(index) for index in range(37))))
    assert sorted(replies) == list(range(37))
    for index, reply in replies.items():
        assert (reply.chunk, reply.text, reply.error) == (index // 10, f"echo: question {index}", "")
        assert reply.finish_reason == "stop"


def test_no_requests_no_replies(endpoint: ports.ChatEndpoint) -> None:
    assert list(endpoint.complete([])) == []


def test_requests_are_pulled_only_as_room_frees_up(endpoint: ports.ChatEndpoint) -> None:
    pulled = []

    def requests() -> Iterator[ports.ChatRequest]:
        for index in range(50):
            pulled.append(index)
            yield request(index)

    for received, _ in enumerate(endpoint.complete(requests())):
        assert len(pulled) <= received + 4 + 1


def test_a_refused_request_costs_only_itself(endpoint: ports.ChatEndpoint) -> None:
    requests = [request(index, "too long" if index == 3 else None) for index in range(8)]
    replies = by_index(list(endpoint.complete(requests)))
    assert [index for index, reply in replies.items() if reply.text is None] == [3]
    assert "HTTP 400" in replies[3].error
    assert replies[3].cost_micro_usd == 0


def test_the_identity_has_neither_address_nor_key(endpoint: ports.ChatEndpoint) -> None:
    assert set(endpoint.identity) == {"engine", "model"}
    assert "127.0.0.1" not in str(endpoint.identity)


def test_a_scripted_failure_comes_after_the_replies_before_it() -> None:
    failing = fake_endpoint.ScriptedEndpoint(failure=ports.TryAgainError("down"), failure_after=6)
    received, error = until_error(failing, [request(index) for index in range(20)])
    assert (len(received), str(error)) == (6, "down")


# --- What is sent ------------------------------------------------------------------------------


def test_a_request_is_sent_as_the_api_expects(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    with opened(settings) as client:
        list(client.complete([request(0)]))
    assert server.paths == ["/v1/chat/completions"]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert server.requests[0] == {
        "model": "writer-1",
        "messages": [
            {"role": "system", "content": "You rewrite."},
            {"role": "user", "content": "question 0"},
        ],
        "temperature": 0.25,
        "top_p": 0.75,
        "max_tokens": 100,
    }


def test_without_a_key_file_no_key_is_sent(settings: ports.EndpointSettings, server: chat.ChatServer) -> None:
    with opened(settings, api_key_file=None) as client:
        list(client.complete([request(0)]))
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize(
    "text", ["caf\u00e9 \u4e2d\u6587 \U0001f600", "lone \ud800 surrogate", "null \x00 byte"]
)
def test_any_text_can_be_sent(settings: ports.EndpointSettings, server: chat.ChatServer, text: str) -> None:
    with opened(settings) as client:
        list(client.complete([request(0, text)]))
    assert server.texts[0] == text


def test_no_more_are_in_flight_than_allowed(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    server.script.extend([chat.Step(kind="wait")] * 12)
    received: list[ports.ChatReply] = []
    with opened(settings, concurrency=3) as client:
        consumer = threading.Thread(target=lambda: received.extend(client.complete(map(request, range(12)))))
        consumer.start()
        _wait_for(lambda: server.busy == 3)
        server.gate.set()
        consumer.join()
    assert (server.busiest, len(received)) == (3, 12)


def _wait_for(condition: Callable[[], bool]) -> None:
    ticker = threading.Event()
    for _ in range(3000):
        if condition():
            return
        ticker.wait(0.01)
    raise AssertionError("the condition did not come true in 30 s")


# --- What is tried again -----------------------------------------------------------------------

TRANSIENT = [chat.refusal(status) for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)]
BROKEN = [chat.Step(kind="reset"), chat.Step(kind="cut")]
UNUSABLE = [
    chat.Step(body=b""),
    chat.Step(body=b"<html>"),
    chat.Step(body=b"[]"),
    chat.Step(body=b'{"error": {"message": "overloaded"}}'),
    chat.Step(body=b'{"choices": []}'),
    chat.Step(body=b'{"choices": [{"message": null}]}'),
    chat.Step(body=chat.completion("")),
    chat.Step(body=chat.completion(None)),
    chat.Step(body=chat.completion("lone \ud800")),
    chat.Step(body=b"not gzip", headers={"Content-Encoding": "gzip"}),
    chat.Step(status=204),
]


@pytest.mark.parametrize(
    "step", TRANSIENT + BROKEN + UNUSABLE, ids=lambda step: f"{step.kind}-{step.status}-{step.body[:12]}"
)
def test_what_may_pass_is_tried_again(
    settings: ports.EndpointSettings, server: chat.ChatServer, clock: FakeClock, step: chat.Step
) -> None:
    server.script.extend([step, step])
    with opened(settings, clock) as client:
        [reply] = client.complete([request(0)])
    assert reply.text == "echo: question 0"
    assert len(server.requests) == 3
    assert clock.slept == [0.5, 1.0]


def test_waits_grow_up_to_a_minute_and_are_drawn_from_zero_up() -> None:
    clock = FakeClock()
    retrier = retry.Retrier(retry.Backoff(retries=9), clock=clock, draw=lambda: 1.0)

    def failing() -> None:
        raise retry.TransientError("always")

    with pytest.raises(retry.GaveUpError, match="attempt 10, the last"):
        retrier.call(failing)
    assert clock.slept == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), (email.utils.formatdate(1_700_000_000 + 30, usegmt=True), 30.0), ("0", 0.0), ("soon", 0.0)],
)
def test_retry_after_is_heeded(
    settings: ports.EndpointSettings, server: chat.ChatServer, clock: FakeClock, header: str, seconds: float
) -> None:
    server.script.append(chat.refusal(429, Retry_After=header))
    with opened(settings, clock) as client:
        list(client.complete([request(0)]))
    assert sum(clock.slept) == pytest.approx(seconds + 0.5)


def test_a_wait_asked_of_one_request_holds_back_the_next(
    settings: ports.EndpointSettings, server: chat.ChatServer, clock: FakeClock
) -> None:
    server.script.append(chat.refusal(429, Retry_After="20"))
    with opened(settings, clock, retries=0) as client:
        until_error(client, [request(0)])
        assert clock.slept == []
        list(client.complete([request(1)]))
    assert clock.slept == [20]


def test_a_wait_of_hours_ends_the_attempt_at_once(
    settings: ports.EndpointSettings, server: chat.ChatServer, clock: FakeClock
) -> None:
    server.script.append(chat.refusal(429, "slow down", Retry_After="7200"))
    with opened(settings, clock) as client, pytest.raises(ports.TryAgainError, match="asks to wait 7200 s"):
        list(client.complete([request(0)]))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "step", [chat.refusal(429, "slow down"), chat.refusal(503, "busy"), chat.Step(kind="reset")]
)
def test_an_endpoint_that_stays_away_is_given_up(
    settings: ports.EndpointSettings, server: chat.ChatServer, step: chat.Step
) -> None:
    server.script.extend([step] * 100)
    with opened(settings) as client, pytest.raises(ports.TryAgainError, match="attempt 4, the last"):
        list(client.complete([request(0)]))
    assert len(server.requests) == 4


def test_nobody_listening_is_given_up(settings: ports.EndpointSettings) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    with opened(settings, url=url) as client, pytest.raises(ports.TryAgainError, match="ConnectError"):
        list(client.complete([request(0)]))


def test_an_endpoint_that_hangs_is_given_up(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    server.script.extend([chat.Step(kind="hang")] * 10)
    with (
        opened(settings, timeout_seconds=0.05, retries=1) as client,
        pytest.raises(ports.TryAgainError, match=r"ReadTimeout: .*attempt 2, the last"),
    ):
        list(client.complete([request(0)]))


def test_replies_received_before_a_failure_are_yielded(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    server.for_text["question 5"] = deque([chat.refusal(429)] * 100)
    with opened(settings, concurrency=1) as client:
        received, error = until_error(client, [request(index) for index in range(10)])
    assert isinstance(error, ports.TryAgainError)
    assert [reply.index for reply in received] == [0, 1, 2, 3, 4]
    assert "question 6" not in server.texts


def test_what_is_in_flight_at_a_failure_is_still_yielded(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    server.for_text["question 0"] = deque([chat.Step(kind="wait")])
    server.for_text["question 1"] = deque([chat.refusal(401)])

    def requests() -> Iterator[ports.ChatRequest]:
        yield request(0)
        _wait_for(lambda: len(server.requests) == 1)
        yield request(1)

    def open_gate() -> None:
        _wait_for(lambda: len(server.requests) == 2)
        server.gate.set()

    opener = threading.Thread(target=open_gate)
    opener.start()
    with opened(settings, concurrency=2) as client:
        received, error = until_error(client, requests())
    opener.join()
    assert isinstance(error, ports.BadParametersError)
    assert [reply.index for reply in received] == [0]


def test_one_request_that_always_breaks_the_server_is_refused_while_others_go_on(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    server.for_text["question 2"] = deque([chat.refusal(500, "cannot compute")] * 100)
    with opened(settings, concurrency=2) as client:
        replies = by_index(list(client.complete([request(index) for index in range(30)])))
    assert [index for index, reply in replies.items() if reply.text is None] == [2]
    assert "others were answered, but not this: " in replies[2].error
    assert "cannot compute" in replies[2].error


def test_a_request_that_stays_rate_limited_is_not_refused_while_others_go_on(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    server.for_text["question 2"] = deque([chat.refusal(429, "slow down")] * 100)
    with opened(settings, concurrency=2, retries=20) as client:
        received, error = until_error(client, [request(index) for index in range(10)])
    assert isinstance(error, ports.TryAgainError)
    assert 2 not in by_index(received)


def test_a_failure_ends_the_retries_of_all_others(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    server.for_text["question 0"] = deque([chat.refusal(503)] * 2000)
    server.for_text["question 1"] = deque([chat.refusal(401, "bad key")])
    with opened(settings, concurrency=2, retries=10_000) as client:
        received, error = until_error(client, [request(0), request(1)])
    assert (received, type(error)) == ([], ports.BadParametersError)
    assert len(server.requests) < 2000


def test_the_sources_own_error_is_passed_on_after_the_replies(settings: ports.EndpointSettings) -> None:
    def requests() -> Iterator[ports.ChatRequest]:
        yield request(0)
        yield request(1)
        raise ports.StoppedError("asked to stop")

    received: list[ports.ChatReply] = []
    with opened(settings) as client, pytest.raises(ports.StoppedError, match="asked to stop"):
        received.extend(client.complete(requests()))
    assert sorted(reply.index for reply in received) == [0, 1]


def test_a_consumer_that_leaves_early_leaves_no_thread(settings: ports.EndpointSettings) -> None:
    before = threading.active_count()
    with opened(settings) as client:
        replies = client.complete(map(request, range(100)))
        next(iter(replies))
        replies.close()  # type: ignore[attr-defined]
        _wait_for(lambda: not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name])
    assert threading.active_count() <= before + 4  # the server's own threads


# --- What is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_is_not_tried_again(
    settings: ports.EndpointSettings, server: chat.ChatServer, status: int
) -> None:
    server.script.append(chat.refusal(status, "This model's maximum context length is 8192 tokens"))
    with opened(settings) as client:
        [reply] = client.complete([request(0)])
    assert reply.text is None
    assert reply.error == f"HTTP {status}: This model's maximum context length is 8192 tokens"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (chat.completion("half a sen", finish_reason="content_filter"), "content filter"),
        (chat.completion(None, refusal="I cannot"), "content filter"),
        (chat.completion("", finish_reason="length"), "no text within max_tokens"),
    ],
)
def test_an_answer_that_will_not_get_better_is_refused_at_once(
    settings: ports.EndpointSettings, server: chat.ChatServer, body: bytes, error: str
) -> None:
    server.script.append(chat.Step(body=body))
    with opened(settings) as client:
        [reply] = client.complete([request(0)])
    assert reply.text is None
    assert error in reply.error
    assert (reply.prompt_tokens, reply.completion_tokens) == (10, 5)


def test_a_cut_off_text_is_returned_with_its_reason(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    server.script.append(chat.Step(body=chat.completion("half", finish_reason="length")))
    with opened(settings) as client:
        [reply] = client.complete([request(0)])
    assert (reply.text, reply.finish_reason) == ("half", "length")


def test_an_endpoint_that_never_says_anything_useful_refuses_that_request(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    server.script.extend([chat.Step(body=b"{}")] * 3)
    with opened(settings) as client:
        [reply] = client.complete([request(0)])
    assert (reply.text, reply.error) == (None, "the body has no choices[0].message")
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("step", "advice"),
    [
        (chat.refusal(401, f"Incorrect API key provided: {KEY}"), "check the key"),
        (chat.refusal(403, "no access to model"), "check the key"),
        (chat.refusal(404, "The model `writer-1` does not exist", "model_not_found"), "endpoint.model"),
        (
            chat.refusal(400, "use max_completion_tokens", "unsupported_parameter"),
            "the parameters that it takes",
        ),
        (chat.refusal(402, "Insufficient Balance"), "no credit"),
        (chat.refusal(429, "quota", "insufficient_quota"), "no credit"),
        (chat.refusal(405), "base address"),
        (chat.Step(status=301, headers={"Location": "http://127.0.0.1:9/v1"}), "redirects are not followed"),
    ],
)
def test_a_wrong_setting_names_url_model_key_file_and_fix_but_not_the_key(
    settings: ports.EndpointSettings, server: chat.ChatServer, step: chat.Step, advice: str
) -> None:
    server.script.append(step)
    with opened(settings) as client, pytest.raises(ports.BadParametersError, match=advice) as caught:
        list(client.complete([request(0)]))
    message = str(caught.value)
    assert f"model 'writer-1' at {settings.url}" in message
    assert str(settings.api_key_file) in message
    assert KEY not in message
    assert KEY not in repr(client)
    assert len(server.requests) == 1


def test_a_rotated_key_is_read_again_on_a_401(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    with opened(settings) as client:
        assert settings.api_key_file is not None
        settings.api_key_file.write_text("sk-new")
        server.script.append(chat.refusal(401))
        [reply] = client.complete([request(0)])
    assert reply.text == "echo: question 0"
    assert [headers["Authorization"] for headers in server.headers] == [f"Bearer {KEY}", "Bearer sk-new"]


@pytest.mark.parametrize("content", ["", "\n", "two\nlines", "caf\u00e9", None])
def test_a_key_file_that_holds_no_key_is_named(
    settings: ports.EndpointSettings, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "bad-key").write_text(content)
    with (
        pytest.raises(ports.BadParametersError, match=r"endpoint API key: file .*/bad-key"),
        opened(settings, api_key_file=tmp_path / "bad-key"),
    ):
        pass


@pytest.mark.parametrize(
    "url", ["", "ftp://host/v1", "host/v1", "https://user:pass@host/v1", "https://host/v1?key=1"]
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(
    settings: ports.EndpointSettings, url: str
) -> None:
    with pytest.raises(ports.BadParametersError, match=r"endpoint\.url"), opened(settings, url=url):
        pass


def test_an_endless_body_is_cut_off(settings: ports.EndpointSettings, server: chat.ChatServer) -> None:
    server.script.extend([chat.Step(body=b" " * (17 * 1024 * 1024))] * 2)
    with (
        opened(settings, retries=1) as client,
        pytest.raises(ports.TryAgainError, match="longer than 16777216"),
    ):
        list(client.complete([request(0)]))


# --- Rate --------------------------------------------------------------------------------------


def test_the_rate_limit_spaces_requests_evenly(
    settings: ports.EndpointSettings, server: chat.ChatServer, clock: FakeClock
) -> None:
    with opened(settings, clock, requests_per_minute=30, concurrency=1) as client:
        assert len(list(client.complete(map(request, range(6))))) == 6
    assert clock.slept == [2.0] * 5


def test_retries_count_against_the_rate_limit(
    settings: ports.EndpointSettings, server: chat.ChatServer, clock: FakeClock
) -> None:
    server.script.extend([chat.refusal(500)] * 2)
    with opened(settings, clock, requests_per_minute=6, concurrency=1) as client:
        list(client.complete([request(0)]))
    assert clock.monotonic() == pytest.approx(20)


# --- Money -------------------------------------------------------------------------------------


def test_a_reply_costs_its_tokens_rounded_up(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    with opened(
        settings, prompt_micro_usd_per_million=150_000, completion_micro_usd_per_million=600_000
    ) as client:
        [reply] = client.complete([request(0)])
        assert client.spent_micro_usd == reply.cost_micro_usd == 5  # 10 * 0.15 + 5 * 0.6 = 4.5
    assert (reply.prompt_tokens, reply.completion_tokens) == (10, 5)


def test_without_prices_nothing_costs(settings: ports.EndpointSettings) -> None:
    with opened(settings) as client:
        [reply] = client.complete([request(0)])
    assert reply.cost_micro_usd == 0


def test_the_spend_limit_holds_before_a_request_that_could_pass_it(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    # Each request costs 5 and may cost 100: the 21st could pass 200 when 101 are spent.
    with opened(settings, completion_micro_usd_per_million=1_000_000, spend_limit_micro_usd=200) as client:
        received, error = until_error(client, [request(index) for index in range(50)])
        assert client.spent_micro_usd == sum(reply.cost_micro_usd for reply in received) == 105
    assert isinstance(error, ports.SpendLimitError)
    assert "limit of 200 micro-USD is reached: 105 are spent and the next request may cost 100" in str(error)
    assert len(server.requests) == len(received) == 21


def test_reservations_of_requests_in_flight_do_not_end_a_stage_early(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    with opened(
        settings, completion_micro_usd_per_million=1_000_000, spend_limit_micro_usd=120, concurrency=4
    ) as client:
        assert len(list(client.complete(map(request, range(4))))) == 4
    assert server.busiest == 1


def test_an_answer_lost_after_sending_counts_at_its_worst_case(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    server.script.append(chat.Step(kind="cut"))
    with opened(settings, completion_micro_usd_per_million=1_000_000) as client:
        [reply] = client.complete([request(0)])
    assert reply.cost_micro_usd == 100 + 5


def test_lost_answers_cannot_pass_the_spend_limit(
    settings: ports.EndpointSettings, server: chat.ChatServer
) -> None:
    server.script.extend([chat.Step(kind="cut")] * 10)
    with opened(settings, completion_micro_usd_per_million=1_000_000, spend_limit_micro_usd=250) as client:
        received, error = until_error(client, [request(0)])
        assert client.spent_micro_usd == 200
    assert (received, type(error)) == ([], ports.SpendLimitError)
    assert len(server.requests) == 2


def test_a_spend_limit_needs_prices(settings: ports.EndpointSettings) -> None:
    with pytest.raises(ports.BadParametersError, match="no price"), opened(settings, spend_limit_micro_usd=1):
        pass


@given(st.text(), st.integers(0, 10_000), st.integers(0, 10**9), st.integers(0, 10**9))
def test_the_worst_case_covers_a_token_for_each_byte(
    text: str, max_tokens: int, prompt: int, completion: int
) -> None:
    prices = spend.Prices(prompt=prompt, completion=completion)
    tokens = len(text.encode("utf-8", "replace")) + 8
    assert prices.worst_case(request(0, text or " ", max_tokens)) >= prices.cost(tokens, max_tokens)


# --- Parsing -----------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "usage", "prompt_tokens", "finish_reason", "error", "code"]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_breaks_the_parser(body: bytes) -> None:
    answer = openai_answer.parse(body)
    assert (answer.text is None) == bool(answer.error)
    assert isinstance(openai_answer.lasting_problem(429, body), str)


# --- Asked to stop ------------------------------------------------------------------------------


def test_when_asked_to_stop_nothing_more_is_sent_and_no_wait_is_waited_out(
    server: chat.ChatServer, settings: ports.EndpointSettings
) -> None:
    server.script.extend([chat.refusal(503, Retry_After="250")] * 3)
    stop = threading.Event()
    changed = dataclasses.replace(settings, concurrency=2)
    with contextlib.closing(openai_endpoint.OpenAiEndpoint(changed, stop=stop)) as client:
        seen: list[tuple[list[ports.ChatReply], ports.StageError]] = []
        consumer = threading.Thread(
            target=lambda: seen.append(until_error(client, (request(i) for i in range(10))))
        )
        consumer.start()
        while len(server.requests) < 2:
            consumer.join(timeout=0.01)
        stop.set()
        consumer.join(timeout=30)
    assert not consumer.is_alive()
    replies, error = seen[0]
    assert replies == []
    assert isinstance(error, ports.StoppedError)
    assert len(server.requests) == 2

"""The suite of `ports.ScoreModel`: heads and likelihoods from vLLM, from transformers and scripted."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters import tiny_models
from fakes import ScriptedScorer
from scalequest_jobs import ports
from scalequest_jobs.engines import transformers_scorer, vllm_likelihood, vllm_scorer

WINDOW = 8
SETTINGS = ports.EngineSettings(window=WINDOW, max_sequences=4)
PARITY = 1e-3
"""Largest difference between vLLM and transformers, float32 on a CPU."""

Make = Callable[[Path, ports.EngineSettings], ports.ScoreModel]
MAKERS: dict[str, Make] = {
    "scripted": lambda _, settings: ScriptedScorer(max_length=tiny_models.POSITIONS, window=settings.window),
    "transformers-head": transformers_scorer.TransformersScorer,
    "transformers-likelihood": transformers_scorer.TransformersLikelihood,
    "vllm-head": vllm_scorer.VllmScorer,
    "vllm-likelihood": vllm_likelihood.VllmLikelihood,
}


def engines(*names: str) -> list[object]:
    return [pytest.param(name, marks=pytest.mark.engine) for name in names]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "tiny-models"


def folder(models: Path, name: str) -> Path:
    if name == "scripted":
        return models
    return tiny_models.head(models) if name.endswith("head") else tiny_models.causal(models)


@pytest.fixture(scope="module", params=["scripted", *engines(*list(MAKERS)[1:])])
def scorer(request: pytest.FixtureRequest, models: Path) -> Iterator[ports.ScoreModel]:
    made = MAKERS[request.param](folder(models, request.param), SETTINGS)
    yield made
    made.close()


def sequences(scorer: ports.ScoreModel, count: int) -> list[ports.ScoreRequest]:
    """Return requests of many lengths, of which all but the longest ones are told by their text alone."""
    prompt = scorer.tokenizer.encode("Tom has ")
    return [
        ports.ScoreRequest(
            chunk=at // 5,
            index=at,
            token_ids=tuple(prompt + scorer.tokenizer.encode(f"{at} pens" * (1 + at % 7))),
            prompt_length=len(prompt),
        )
        for at in range(count)
    ]


def scores(scorer: ports.ScoreModel, requests: list[ports.ScoreRequest]) -> list[float | None]:
    return [one.value for one in sorted(scorer.score(requests), key=lambda one: one.index)]


# --- What every scorer promises -----------------------------------------------------------------


def test_every_sequence_is_scored_once_over_chunks(scorer: ports.ScoreModel) -> None:
    requests = sequences(scorer, 21)
    scored = [(one.chunk, one.index) for one in scorer.score(requests)]
    assert sorted(scored) == [(request.chunk, request.index) for request in requests]


def test_different_sequences_have_different_scores(scorer: ports.ScoreModel) -> None:
    assert len(set(scores(scorer, sequences(scorer, 21)))) == 21


def test_a_score_does_not_depend_on_the_neighbours(scorer: ports.ScoreModel) -> None:
    requests = sequences(scorer, 9)
    alone = [value for request in requests for value in scores(scorer, [request])]
    assert scores(scorer, requests) == pytest.approx(alone, abs=1e-5)


def test_a_sequence_scored_again_has_the_same_score(scorer: ports.ScoreModel) -> None:
    long = ports.ScoreRequest(chunk=0, index=0, token_ids=(9,) * (tiny_models.POSITIONS - 1), prompt_length=3)
    first, again = scores(scorer, [long]), scores(scorer, [long])
    assert first == pytest.approx(again, abs=1e-5)


def test_a_sequence_longer_than_the_window_has_no_score_and_spares_the_others(
    scorer: ports.ScoreModel,
) -> None:
    first, second = sequences(scorer, 2)
    long = ports.ScoreRequest(chunk=0, index=2, token_ids=(9,) * (tiny_models.POSITIONS + 1))
    one, two, none = scores(scorer, [first, second, long])
    assert none is None
    assert None not in {one, two}


@pytest.mark.parametrize("ids", [(), (-1, 5), (5, 2**31)], ids=["empty", "negative", "unknown"])
def test_ids_that_no_model_takes_have_no_score(scorer: ports.ScoreModel, ids: tuple[int, ...]) -> None:
    assert scores(scorer, [ports.ScoreRequest(chunk=0, index=0, token_ids=ids)]) == [None]


def test_sequences_are_pulled_only_as_room_frees_up(scorer: ports.ScoreModel) -> None:
    pulled = 0

    def counted() -> Iterator[ports.ScoreRequest]:
        nonlocal pulled
        for request in sequences(scorer, 50):
            pulled += 1
            yield request

    ahead = []
    for done, _ in enumerate(scorer.score(counted())):
        ahead.append(pulled - done)
    assert len(ahead) == 50
    assert max(ahead) <= WINDOW + 1


def test_identity_names_engine_version_device_and_dtype(scorer: ports.ScoreModel) -> None:
    assert set(scorer.identity) == {"engine", "version", "device", "dtype"}
    assert all(scorer.identity.values())


# --- Heads --------------------------------------------------------------------------------------

HEADS = engines("transformers-head", "vllm-head")


@pytest.mark.parametrize("scorer", HEADS, indirect=True)
def test_scores_of_a_head_are_raw_logits_of_its_own_forward_pass(
    scorer: ports.ScoreModel, models: Path
) -> None:
    import torch
    import transformers

    model = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_models.head(models))
    requests = sequences(scorer, 21)
    with torch.inference_mode():
        logits = [float(model(torch.tensor([request.token_ids])).logits) for request in requests]
    assert min(logits) < 0 or max(logits) > 1, "squashed scores would pass"
    assert scores(scorer, requests) == pytest.approx(logits, abs=PARITY)


@pytest.mark.parametrize("scorer", HEADS, indirect=True)
def test_the_last_token_counts_even_if_it_is_the_pad_token(scorer: ports.ScoreModel) -> None:
    (request,) = sequences(scorer, 1)
    (pad,) = scorer.tokenizer.encode("<|endoftext|>")
    padded = ports.ScoreRequest(chunk=0, index=1, token_ids=(*request.token_ids, pad))
    plain, ended = scores(scorer, [request, padded])
    assert plain is not None
    assert ended != pytest.approx(plain, abs=1e-2)


@pytest.mark.parametrize("engine", HEADS)
@pytest.mark.parametrize(
    "changes", [{"id2label": {"0": "no", "1": "yes"}}, {"architectures": ["LlamaForCausalLM"]}]
)
def test_a_model_without_a_one_output_head_is_bad_input(
    engine: str, changes: dict[str, object], models: Path, tmp_path: Path
) -> None:
    model = tiny_models.altered(tiny_models.head(models), tmp_path / "wide", **changes)
    with pytest.raises(ports.BadInputError, match=r"wide is a Llama.* a scorer needs .* with one label"):
        MAKERS[engine](model, SETTINGS)


# --- Likelihoods --------------------------------------------------------------------------------

LIKELIHOODS = engines("transformers-likelihood", "vllm-likelihood")


@pytest.mark.parametrize("scorer", LIKELIHOODS, indirect=True)
def test_a_likelihood_is_the_mean_log_probability_after_the_prompt(
    scorer: ports.ScoreModel, models: Path
) -> None:
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_models.causal(models))
    requests = sequences(scorer, 21)
    expected = []
    for request in requests:
        with torch.inference_mode():
            ids = torch.tensor([request.token_ids])
            logprobs = model(ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])
        expected.append(float(logprobs[request.prompt_length - 1 :].mean()))
    assert scores(scorer, requests) == pytest.approx(expected, abs=PARITY)


@pytest.mark.parametrize("scorer", LIKELIHOODS, indirect=True)
def test_without_a_prompt_the_mean_starts_at_the_second_token(scorer: ports.ScoreModel) -> None:
    ids = tuple(scorer.tokenizer.encode("Tom has two pens"))
    none, one = (ports.ScoreRequest(chunk=0, index=at, token_ids=ids, prompt_length=at) for at in range(2))
    first, second = scores(scorer, [none, one])
    assert first == pytest.approx(second, abs=1e-6)


@pytest.mark.parametrize("scorer", LIKELIHOODS, indirect=True)
def test_a_sequence_that_is_all_prompt_has_no_likelihood(scorer: ports.ScoreModel) -> None:
    ids = tuple(scorer.tokenizer.encode("Tom has two pens"))
    request = ports.ScoreRequest(chunk=0, index=0, token_ids=ids, prompt_length=len(ids))
    assert scores(scorer, [request]) == [None]

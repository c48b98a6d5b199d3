"""The suite of `ports.TextGenerator`: vLLM, transformers and the scripted fake give the same promises."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from adapters import tiny_models
from fakes import ScriptedGenerator
from scalequest_jobs import ports
from scalequest_jobs.engines import feeding, transformers_generator, vllm_generator

WINDOW = 8
SETTINGS = ports.EngineSettings(window=WINDOW, max_sequences=WINDOW)
DRAWN = ports.Sampling(temperature=1.0, top_p=0.99, max_tokens=12)
GREEDY = ports.Sampling(temperature=0.0, top_p=1.0, max_tokens=12)
VLLM = pytest.param("vllm", marks=pytest.mark.engine)
TRANSFORMERS = pytest.param("transformers", marks=pytest.mark.engine)

Make = Callable[[Path, ports.EngineSettings], ports.TextGenerator]
MAKERS: dict[str, Make] = {
    "scripted": lambda _, settings: ScriptedGenerator(
        max_length=tiny_models.POSITIONS, window=settings.window
    ),
    "transformers": transformers_generator.TransformersGenerator,
    "vllm": vllm_generator.VllmGenerator,
}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "tiny-models"


@pytest.fixture(scope="module", params=["scripted", TRANSFORMERS, VLLM])
def generator(request: pytest.FixtureRequest, models: Path) -> Iterator[ports.TextGenerator]:
    folder = models if request.param == "scripted" else tiny_models.causal(models)
    made = MAKERS[request.param](folder, SETTINGS)
    yield made
    made.close()


def ask(
    generator: ports.TextGenerator,
    count: int,
    *,
    sampling: ports.Sampling = DRAWN,
    chunk: int = 0,
    text: str = "How many apples",
    run_seed: int = 7,
) -> list[ports.Request]:
    """Return `count` requests of one chunk with the same prompt."""
    return [
        ports.Request(
            chunk=chunk,
            index=index,
            prompt_ids=tuple(generator.tokenizer.encode(text)),
            sampling=sampling,
            seed=(run_seed * 1_000_003 + chunk) * 1_000_003 + index,
            chunk_seed=run_seed * 1_000_003 + chunk,
        )
        for index in range(count)
    ]


def answers(generator: ports.TextGenerator, requests: Iterable[ports.Request]) -> list[ports.Completion]:
    return sorted(generator.generate(requests), key=lambda answer: (answer.chunk, answer.index))


def texts(generator: ports.TextGenerator, requests: Iterable[ports.Request]) -> list[str]:
    return [sample.text for answer in answers(generator, requests) for sample in answer.samples]


def every_id(generator: ports.TextGenerator) -> tuple[int, ...]:
    """Return stop ids that any generator soon hits: all of the model's, or all of the fake's words."""
    return tuple(range(300)) if not isinstance(generator, ScriptedGenerator) else tuple(range(400))


# --- What every generator promises --------------------------------------------------------------


def test_every_request_is_answered_once_over_chunks_larger_than_the_window(
    generator: ports.TextGenerator,
) -> None:
    requests = [*ask(generator, 11), *ask(generator, 1, chunk=1), *ask(generator, 9, chunk=4)]
    answered = [(answer.chunk, answer.index) for answer in generator.generate(requests)]
    assert sorted(answered) == [(request.chunk, request.index) for request in requests]


def test_no_requests_give_no_completions(generator: ports.TextGenerator) -> None:
    assert answers(generator, []) == []


def test_samples_of_one_request_are_as_many_as_asked_and_differ(generator: ports.TextGenerator) -> None:
    (answer,) = answers(generator, ask(generator, 1, sampling=replace(DRAWN, samples=3)))
    assert len({sample.text for sample in answer.samples}) == 3


def test_greedy_samples_of_one_request_are_as_many_as_asked_and_equal(generator: ports.TextGenerator) -> None:
    (answer,) = answers(generator, ask(generator, 1, sampling=replace(GREEDY, samples=3)))
    assert answer.samples == (answer.samples[0],) * 3


def test_prompt_tokens_are_the_ids_sent_without_another_begin_token(generator: ports.TextGenerator) -> None:
    (request,) = ask(generator, 1)
    (answer,) = answers(generator, [request])
    assert answer.prompt_tokens == len(request.prompt_ids)


def test_a_text_without_stop_ids_runs_to_its_length(generator: ports.TextGenerator) -> None:
    (answer,) = answers(generator, ask(generator, 1))
    (sample,) = answer.samples
    assert (sample.finish_reason, len(sample.token_ids)) == ("length", DRAWN.max_tokens)
    assert sample.text == generator.tokenizer.decode(sample.token_ids)


def test_a_stop_id_ends_a_text_and_is_left_out(generator: ports.TextGenerator) -> None:
    sampling = replace(DRAWN, stop_ids=every_id(generator))
    (answer,) = answers(generator, ask(generator, 1, sampling=sampling))
    assert answer.samples == (ports.Sample(text="", token_ids=(), finish_reason="stop"),)


def test_a_stop_id_in_mid_text_cuts_the_greedy_text_before_it(generator: ports.TextGenerator) -> None:
    (whole,) = answers(generator, ask(generator, 1, sampling=GREEDY))
    ids = whole.samples[0].token_ids
    stop_id = next(token for token in ids if token != ids[0])
    (cut,) = answers(generator, ask(generator, 1, sampling=replace(GREEDY, stop_ids=(stop_id,))))
    assert cut.samples[0].token_ids == ids[: ids.index(stop_id)]
    assert cut.samples[0].finish_reason == "stop"


def test_greedy_text_is_the_same_whatever_the_seeds_and_the_batch(generator: ports.TextGenerator) -> None:
    alone = texts(generator, ask(generator, 1, sampling=GREEDY))
    crowd = texts(generator, ask(generator, 9, sampling=GREEDY, chunk=3, run_seed=99))
    assert crowd == alone * 9


def test_greedy_text_does_not_depend_on_prompts_of_other_lengths_beside_it(
    generator: ports.TextGenerator,
) -> None:
    prompts = ("Tom", "How many apples", "Tom has two pens and buys seven more.")
    requests = [
        replace(ask(generator, 1, sampling=GREEDY, text=text)[0], index=at) for at, text in enumerate(prompts)
    ]
    alone = [text for request in requests for text in texts(generator, [request])]
    assert texts(generator, requests) == alone


def test_the_same_chunk_gives_the_same_text_again(generator: ports.TextGenerator) -> None:
    requests = ask(generator, 11, sampling=replace(DRAWN, samples=2))
    assert texts(generator, requests) == texts(generator, requests)


def test_a_chunk_gives_the_same_text_whatever_ran_before_it(generator: ports.TextGenerator) -> None:
    # Prompts so long, and all different, that ones left in a cache would change the passes they are split into.
    ids = tuple(generator.tokenizer.encode("<|im_start|>" * 400))
    first, second = (
        [replace(one, prompt_ids=(one.index, *ids)) for one in ask(generator, 11, chunk=chunk)]
        for chunk in (0, 1)
    )
    alone = texts(generator, second)
    assert texts(generator, [*first, *second])[11:] == alone


def test_requests_of_one_chunk_and_chunks_of_one_run_and_runs_differ(generator: ports.TextGenerator) -> None:
    requests = [*ask(generator, 9), *ask(generator, 9, chunk=1)]
    other_run = ask(generator, 9, run_seed=8)
    drawn = texts(generator, requests) + texts(generator, other_run)
    assert len(set(drawn)) == 27


def test_a_prompt_that_fills_the_window_aborts_only_itself(generator: ports.TextGenerator) -> None:
    first, second, third = ask(generator, 3, sampling=replace(DRAWN, samples=2))
    long = replace(second, prompt_ids=(second.prompt_ids * 999)[: generator.max_length])
    one, two, three = answers(generator, [first, long, third])
    assert [sample.finish_reason for sample in two.samples] == ["abort", "abort"]
    assert two.prompt_tokens == generator.max_length
    assert {sample.finish_reason for sample in one.samples + three.samples} == {"length"}


@pytest.mark.parametrize("ids", [(), (-1,), (2**31,)], ids=["empty", "negative", "unknown"])
def test_ids_that_no_model_takes_abort_only_themselves(
    generator: ports.TextGenerator, ids: tuple[int, ...]
) -> None:
    first, second = ask(generator, 2)
    good, bad = answers(generator, [first, replace(second, prompt_ids=ids)])
    assert (good.samples[0].finish_reason, bad.samples[0].finish_reason) == ("length", "abort")


def test_max_tokens_are_cut_to_what_the_window_leaves(generator: ports.TextGenerator) -> None:
    long, short = ask(generator, 2, sampling=replace(GREEDY, max_tokens=20))
    room_for_five = replace(long, prompt_ids=(long.prompt_ids * 999)[: generator.max_length - 5])
    cut, whole = answers(generator, [room_for_five, short])
    assert (cut.samples[0].finish_reason, len(cut.samples[0].token_ids)) == ("length", 5)
    assert len(whole.samples[0].token_ids) == 20


def test_requests_are_pulled_only_as_room_frees_up(generator: ports.TextGenerator) -> None:
    pulled = 0

    def counted() -> Iterator[ports.Request]:
        nonlocal pulled
        for request in ask(generator, 50):
            pulled += 1
            yield request

    ahead = []
    for done, _ in enumerate(generator.generate(counted())):
        ahead.append(pulled - done)
    assert len(ahead) == 50
    assert max(ahead) <= WINDOW + 1


def test_a_generator_left_in_mid_stream_answers_the_next_requests(generator: ports.TextGenerator) -> None:
    expected = texts(generator, ask(generator, 4))
    stream = generator.generate(iter(ask(generator, 9, chunk=2)))
    next(stream)
    stream.close()  # type: ignore[attr-defined] # the adapters are generator functions
    assert texts(generator, ask(generator, 4)) == expected


def test_identity_names_engine_version_device_and_dtype(generator: ports.TextGenerator) -> None:
    assert set(generator.identity) == {"engine", "version", "device", "dtype"}
    assert all(generator.identity.values())


# --- What only real engines can get wrong -------------------------------------------------------


@pytest.mark.parametrize("generator", [VLLM], indirect=True)
def test_greedy_text_of_vllm_equals_that_of_transformers(
    generator: ports.TextGenerator, models: Path
) -> None:
    reference = transformers_generator.TransformersGenerator(tiny_models.causal(models), SETTINGS)
    prompts = ("How many apples", "Tom", "<|im_start|>user\nTom has two pens and buys seven more.<|im_end|>")
    requests = [request for text in prompts for request in ask(generator, 1, sampling=GREEDY, text=text)]
    requests = [replace(request, index=at) for at, request in enumerate(requests)]
    assert texts(generator, requests) == texts(reference, requests)


@pytest.mark.parametrize("engine", [TRANSFORMERS, VLLM])
def test_the_folder_generation_config_neither_stops_nor_sharpens_a_text(
    engine: str, models: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_models.causal(models), tmp_path / "configured")
    everything = {"eos_token_id": list(range(300)), "temperature": 0.01, "top_k": 1, "do_sample": True}
    (folder / "generation_config.json").write_text(json.dumps(everything))
    generator = MAKERS[engine](folder, SETTINGS)
    drawn = answers(generator, ask(generator, 8))
    generator.close()
    assert {answer.samples[0].finish_reason for answer in drawn} == {"length"}
    assert len({answer.samples[0].text for answer in drawn}) == 8


@pytest.mark.engine
def test_sampling_in_training_leaves_the_random_state_of_the_process(models: Path) -> None:
    import torch

    generator = transformers_generator.TransformersGenerator(tiny_models.causal(models), SETTINGS)
    before = torch.get_rng_state()
    texts(generator, ask(generator, 3))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.engine
def test_two_models_load_one_after_another_in_one_process_without_a_word_on_stdout(
    models: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import torch

    set_threads = torch.set_num_threads
    written = []
    for folder in (tiny_models.causal(models), tiny_models.other_causal(models), tiny_models.causal(models)):
        generator = vllm_generator.VllmGenerator(folder, SETTINGS)
        written.append(texts(generator, ask(generator, 2, sampling=GREEDY)))
        generator.close()
    assert written[0] == written[2] != written[1]
    assert torch.set_num_threads is set_threads
    assert capfd.readouterr().out == ""


# --- What a user can meet -----------------------------------------------------------------------

REAL = [TRANSFORMERS, VLLM]


@pytest.mark.parametrize("engine", REAL)
def test_an_unknown_architecture_is_bad_input_that_names_the_folder(
    engine: str, models: Path, tmp_path: Path
) -> None:
    changes = {"architectures": ["NoSuchForCausalLM"], "model_type": "no_such"}
    folder = tiny_models.altered(tiny_models.causal(models), tmp_path / "unknown", **changes)
    with pytest.raises(ports.BadInputError, match="unknown"):
        MAKERS[engine](folder, SETTINGS)


@pytest.mark.parametrize("engine", REAL)
def test_weights_of_another_shape_are_bad_input_that_names_the_folder(
    engine: str, models: Path, tmp_path: Path
) -> None:
    folder = tiny_models.altered(
        tiny_models.causal(models), tmp_path / "misfit", hidden_size=128, head_dim=64
    )
    with pytest.raises(ports.BadInputError, match="misfit"):
        MAKERS[engine](folder, SETTINGS)


@pytest.mark.parametrize("engine", REAL)
def test_a_truncated_weight_file_is_bad_input_that_names_the_file(
    engine: str, models: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_models.causal(models), tmp_path / "cut")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ports.BadInputError, match=r"cut/model\.safetensors is not a whole"):
        MAKERS[engine](folder, SETTINGS)


@pytest.mark.parametrize("engine", REAL)
@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_without_a_needed_file_is_bad_input(
    engine: str, missing: str, models: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_models.causal(models), tmp_path / "part")
    (folder / missing).unlink()
    with pytest.raises(ports.BadInputError, match=r"part has no (config\.json|\*\.safetensors)"):
        MAKERS[engine](folder, SETTINGS)


@pytest.mark.parametrize("engine", REAL)
def test_a_window_past_the_positions_is_a_bad_parameter(engine: str, models: Path) -> None:
    settings = replace(SETTINGS, max_model_length=tiny_models.POSITIONS + 1)
    with pytest.raises(ports.BadParametersError, match=r"max_model_length is 513, but .* has 512 positions"):
        MAKERS[engine](tiny_models.causal(models), settings)


@pytest.mark.engine
def test_a_cache_that_does_not_fit_into_memory_may_fit_later(models: Path) -> None:
    settings = replace(SETTINGS, gpu_memory_utilization=1.0)
    with pytest.raises(ports.TryAgainError, match=r"could not start causal: .*[Mm]emory"):
        vllm_generator.VllmGenerator(tiny_models.causal(models), settings)


# --- Feeding ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finished:
    request_id: str


@dataclass
class Counter:
    """Finishes one request a step, the oldest first, and notes what it held when it was asked."""

    running: list[str] = field(default_factory=list)
    most: int = 0
    aborted: list[str] = field(default_factory=list)

    def add(self, name: str, ids: tuple[int, ...], params: object) -> None:
        self.running.append(name)
        self.most = max(self.most, len(self.running))

    def step(self) -> list[Finished]:
        return [Finished(self.running.pop(0))]

    def abort(self, names: list[str]) -> None:
        self.aborted += names


def works(*chunks: int, refuse: int | None = None) -> Iterator[feeding.Work[int]]:
    for at, chunk in enumerate(chunks):
        yield feeding.Work(request=at, chunk=chunk, ids=(1,), params=None if at == refuse else object())


def test_an_engine_that_seeds_requests_holds_several_chunks_at_once() -> None:
    engine = Counter()
    fed = feeding.Feeder[int](engine, window=4).run(works(0, 0, 1, 2, 2, 3))
    assert [request for request, _ in fed] == [0, 1, 2, 3, 4, 5]
    assert engine.most == 4


def test_an_engine_that_is_seeded_by_chunk_is_empty_when_the_next_chunk_starts() -> None:
    engine = Counter()
    held: list[tuple[int, int]] = []
    feeder = feeding.Feeder[int](
        engine, window=4, before_chunk=lambda first: held.append((first, len(engine.running)))
    )
    fed = [request for request, _ in feeder.run(works(0, 0, 1, 1, 1, 2, refuse=2))]
    assert sorted(fed) == [0, 1, 2, 3, 4, 5]
    assert held == [(0, 0), (3, 0), (5, 0)]
    assert engine.most == 2


def test_closing_a_fed_stream_drops_what_is_still_running() -> None:
    engine = Counter()
    stream = feeding.Feeder[int](engine, window=3).run(works(0, 0, 0, 0))
    next(stream)
    stream.close()  # type: ignore[attr-defined] # a generator function
    assert engine.aborted == ["1", "2"]

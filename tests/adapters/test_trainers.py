"""What every trainer does: TRL on a random two-layer Llama, and the fake that learns nothing."""

import itertools
from pathlib import Path

import pytest

from fake_trainer import RecordingTrainer
from scalequest_jobs import ports
from scalequest_jobs.engines import trl_trainer
from tiny_llama import BOS, EOS, PICKLES, make_model, settings, sft_examples, sft_job

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "llama")


@pytest.fixture(params=[trl_trainer.TrlTrainer, RecordingTrainer])
def trainer(request: pytest.FixtureRequest) -> ports.Trainer:
    made: ports.Trainer = request.param()
    return made


def test_output_is_a_model_with_its_tokenizer_and_no_pickle(
    trainer: ports.Trainer, model: Path, tmp_path: Path
) -> None:
    result = trainer.train(sft_job(model, tmp_path / "out"))

    assert result.steps == 8
    assert result.examples_used == 64
    assert result.identity
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"} <= names
    assert "chat_template.jinja" in names
    assert not [path for path in (tmp_path / "out").rglob("*") if path.suffix in PICKLES]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_progress_rises_to_the_last_step(
    trainer: ports.Trainer, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[ports.TrainingProgress] = []

    result = trainer.train(sft_job(model, tmp_path / "out", on_progress=seen.append))

    assert [progress.step for progress in seen] == list(range(1, 9))
    assert {progress.total_steps for progress in seen} == {8}
    assert all(progress.metrics["loss"] > 0 for progress in seen)
    assert [line["step"] for line in result.history] == list(range(1, 9))
    assert capfd.readouterr() == ("", "")


def test_checkpoints_are_handed_over_and_only_the_last_is_kept(
    trainer: ports.Trainer, model: Path, tmp_path: Path
) -> None:
    seen: list[tuple[int, bool, int]] = []

    def keep(folder: Path, step: int) -> None:
        seen.append((step, any(folder.iterdir()), len(list(folder.parent.iterdir()))))

    job = sft_job(model, tmp_path / "out", settings=settings(checkpoint_steps=3), on_checkpoint=keep)
    trainer.train(job)

    assert seen == [(3, True, 1), (6, True, 2)]
    kept = [path for path in tmp_path.rglob("checkpoint-*") if path.is_dir()]
    assert [path.name for path in kept] == ["checkpoint-6"]
    assert not kept[0].is_relative_to(tmp_path / "out")


def test_stopping_leaves_a_checkpoint_that_goes_on_at_the_next_step(
    trainer: ports.Trainer, model: Path, tmp_path: Path
) -> None:
    steps = itertools.count(1)
    saved: list[Path] = []
    stopping = sft_job(
        model,
        tmp_path / "first",
        should_stop=lambda: next(steps) >= 5,
        on_checkpoint=lambda folder, _step: saved.append(folder),
    )
    with pytest.raises(ports.StoppedError, match=r"step 5 of 8"):
        trainer.train(stopping)
    assert not (tmp_path / "first").exists()

    seen: list[int] = []
    result = trainer.train(
        sft_job(
            model,
            tmp_path / "second",
            checkpoint=saved[-1],
            on_progress=lambda progress: seen.append(progress.step),
        )
    )
    assert seen == [6, 7, 8]
    assert result.steps == 8


def test_an_example_that_is_too_long_is_refused_by_count_and_index(
    trainer: ports.Trainer, model: Path, tmp_path: Path
) -> None:
    long = ports.SftExample(prompt_ids=(BOS,), completion_ids=(9,) * 31 + (EOS,))
    examples = (*sft_examples(3), long, *sft_examples(2), long)

    with pytest.raises(ports.BadInputError, match=r"2 of 7 examples .* example 3 with 33"):
        trainer.train(sft_job(model, tmp_path / "out", examples=examples))
    assert not (tmp_path / "out").exists()


def test_no_examples_are_refused(trainer: ports.Trainer, model: Path, tmp_path: Path) -> None:
    with pytest.raises(ports.BadInputError, match="no example"):
        trainer.train(sft_job(model, tmp_path / "out", examples=()))


def test_a_folder_without_a_model_is_refused_by_name(trainer: ports.Trainer, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(ports.BadInputError, match="empty: the model cannot be read"):
        trainer.train(sft_job(tmp_path / "empty", tmp_path / "out"))


def test_an_output_that_exists_is_never_written_over(
    trainer: ports.Trainer, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()

    with pytest.raises(ports.BadParametersError, match="exists already"):
        trainer.train(sft_job(model, tmp_path / "out"))

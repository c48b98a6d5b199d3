"""Engines that play the tiny world without any model: questions, judgements, answers and scores."""

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fake_endpoint import ScriptedEndpoint
from fake_trainer import RecordingTrainer
from fakes import ScriptedGenerator, ScriptedScorer, ScriptedTokenizer
from scalequest_jobs import ports
from tiny_world import teacher, world

_WEB = world.Web()


def reply(request: ports.Request, sample: int) -> str:
    """Write a question, judge one or answer one, by what the prompt asks for."""
    prompt = ScriptedTokenizer().decode(request.prompt_ids)
    rng = random.Random(repr((request.seed, sample)))
    if prompt.strip() == "user":
        return world.web_question(rng, _WEB)
    question = _question_in(prompt)
    if "Yes or No" in prompt:
        return world.judgement(question)
    answer = world.truth(question)
    if answer is None or rng.random() < 0.3:
        answer = rng.randrange(100)
    return f"So it is \\boxed{{{answer}}}"


def _question_in(prompt: str) -> str:
    lines = [line for line in prompt.splitlines() if line.strip()]
    return max(lines, key=lambda line: sum(name in line for name in (" has ", "How many", "boxes")))


@dataclass
class WorldEngines:
    """`ports.Engines` over the fakes; `asked` lists every generator request that was served."""

    asked: list[ports.Request] = field(default_factory=list)
    scored: list[ports.ScoreRequest] = field(default_factory=list)
    trainers: list[RecordingTrainer] = field(default_factory=list)
    endpoint: ScriptedEndpoint = field(
        default_factory=lambda: ScriptedEndpoint(lambda request: teacher.answer(request.messages[-1].content))
    )

    def generator(self, model: Path) -> ports.TextGenerator:
        made = ScriptedGenerator(reply, max_length=100_000)
        made.asked = self.asked
        return made

    def sampler(self, model: Path) -> ports.TextGenerator:
        return ScriptedGenerator(reply, max_length=100_000)

    def scorer(self, model: Path, *, kind: Literal["head", "likelihood"]) -> ports.ScoreModel:
        made = ScriptedScorer(max_length=100_000)
        made.asked = self.scored
        return made

    def tokenizer(self, model: Path) -> ports.Tokenizer:
        return ScriptedTokenizer()

    def trainer(self) -> ports.Trainer:
        self.trainers.append(RecordingTrainer())
        return self.trainers[-1]

    def chat(self, endpoint: ports.EndpointSettings, stop: threading.Event) -> ports.ChatEndpoint:
        return self.endpoint


def make_engines(_order: object) -> ports.Engines:
    """Return engines for a worker process; a function of this module, so that it can be sent there."""
    return WorldEngines()

"""The tiny world in one import: problems, their truth, their noise, and the two splits."""

from tiny_world.grammar import Problem, parse, render
from tiny_world.noise import Web, damage, judged_question, problem, web_question
from tiny_world.splits import held_out_questions, seed_questions
from tiny_world.truth import boxed, is_right, judgement, solution, trace, truth

__all__ = [
    "Problem",
    "Web",
    "boxed",
    "damage",
    "held_out_questions",
    "is_right",
    "judged_question",
    "judgement",
    "parse",
    "problem",
    "render",
    "seed_questions",
    "solution",
    "trace",
    "truth",
    "web_question",
]

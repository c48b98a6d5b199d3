"""Mathematics: word problems and exercises with one checkable answer."""

from scalequest_jobs.domains import answers, base

# The four templates follow the purposes and the output formats of ScaleQuest's figures 10 to 12, in
# words of our own. "solvability" is figure 10 (check and repair), "difficulty" figure 11 (evolve):
# the published code has the two names the other way round.

_SOLVABILITY = """\
You are a mathematics teacher who reviews exercises before they are given to a class. Decide about the \
text below:
(a) Is it a mathematics problem?
(b) Can it be solved from the conditions that it states, with nothing missing and nothing contradictory?

If that helps you to decide, try to solve it first. Think it through step by step, and end with a last \
line that holds a single word: Yes if both are true, otherwise No.

TEXT:
{question}
"""

_RESPONSE = """\
{question}
Work through the solution one step at a time, and write the final answer inside \\boxed{}."""

_REWRITE_SOLVABILITY = """\
You are a mathematics teacher, known for word problems that are clear and worth solving. Below is a draft \
of a problem by somebody else. Turn it into a problem that can certainly be solved.

How to work:
- First see whether the draft is a mathematics problem at all, then write out a full solution of it and \
let the solution show you whether the problem can be solved.
- A draft that makes no sense is replaced by a sensible problem of your own; any other draft is repaired \
where it fails and otherwise left as it is.
- A draft that one glance answers is changed so that it takes several steps of reasoning.

What the result must be:
- It asks for one thing only, and the answer is one number, whole or decimal.
- It agrees with everyday life: amounts are not negative, people are not counted in fractions.
- It stands on its own: whatever it takes from the draft is said again in full.
- It gives away nothing of the solution.

Write exactly these three sections, each under its label:
CREATED QUESTION: the problem as you first put it
VERIFICATION AND MODIFICATION: your solution, the faults that it brought to light, and how you mend them
FINAL QUESTION: the finished problem and nothing else

ORIGINAL QUESTION:
{question}"""

_REWRITE_DIFFICULTY = """\
You edit mathematics problems. Make a somewhat harder version of the problem below, one that people can \
still understand, solve and answer.

Go through these four steps and label each of them as shown:
Step 1 #Methods List#: If the problem has mistakes, say how to correct them. Then list several ways in \
which this particular problem could be made more demanding.
Step 2 #Plan#: Combine some of these ways into one plan.
Step 3 #Rewritten Problem#: Carry the plan out. The new version is only 10 to 20 words longer than the \
problem below.
Step 4 #Finally Rewritten Problem#: Read the new version again, take out whatever is unreasonable, and \
write the finished problem alone, without comment and without a solution.

ORIGINAL QUESTION:
{question}"""

MATH = base.Domain(
    name="math",
    system_prompt="You are a helpful assistant.",
    templates=base.Templates(
        solvability=_SOLVABILITY,
        response=_RESPONSE,
        rewrite_solvability=_REWRITE_SOLVABILITY,
        rewrite_difficulty=_REWRITE_DIFFICULTY,
    ),
    final_markers={
        "solvability": base.final_marker(r"FINAL[ ]QUESTION"),
        "difficulty": base.final_marker(
            r"(?:Step[ ]?4[ :.*_-]{0,4})?\#?[ ]?Finally[ ]Rewritten[ ](?:Problem|Question)[ ]?\#?"
        ),
    },
    extract_answer=answers.extract,
    extract_answers=answers.extract_all,
    normalise_answer=answers.normalise,
    same_answer=answers.same,
)

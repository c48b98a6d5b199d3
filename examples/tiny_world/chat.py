"""The words around a question: ChatML turns, the pre-query prefix and the judge's instruction."""

SYSTEM = "You are a math assistant."
START = "<|im_start|>"
END = "<|im_end|>"
PAD = "<|endoftext|>"
PRE_QUERY = f"{START}system\n{SYSTEM}{END}\n{START}user\n"
ASSISTANT = f"{END}\n{START}assistant\n"
JUDGE = "Judge if this problem is solvable.\n"

# The system turn is added where a conversation has none, as Qwen's template does.
TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}"
    f"{START}system\n{SYSTEM}{END}\n"
    "{% endif %}"
    "{% for message in messages %}"
    f"{START}" + "{{ message['role'] }}\n{{ message['content'] }}" + f"{END}\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}" + f"{START}assistant\n" + "{% endif %}"
)


def solve_prompt(question: str) -> str:
    """Return the text that a solver continues with a solution."""
    return PRE_QUERY + question + ASSISTANT


def judge_prompt(question: str) -> str:
    """Return the text that a judge continues with a judgement."""
    return PRE_QUERY + JUDGE + question + ASSISTANT

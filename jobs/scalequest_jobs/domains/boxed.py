r"""Reading `\boxed{}` out of a response."""

import re

# An escaped brace is part of a formula, so `\.` must be read before the braces.
_TOKEN = re.compile(r"\\f?boxed\s*\{|\\f?box\s*\{|\\.|[{}]", re.DOTALL)


def all_of(response: str) -> tuple[str, ...]:
    r"""Return the content of every balanced `\boxed{}` or `\fbox{}`, by where it starts.

    One pass with a stack: linear for any text. An unbalanced one is left out.
    """
    opened: list[tuple[int, bool]] = []
    found: list[tuple[int, str]] = []
    for token in _TOKEN.finditer(response):
        match token.group():
            case "}":
                start, is_box = opened.pop() if opened else (0, False)
                if is_box:
                    found.append((start, response[start : token.start()].strip()))
            case text if text.endswith("{") and text != "\\{":
                opened.append((token.end(), text != "{"))
            case _:
                pass
    return tuple(content for _, content in sorted(found))


def last_of(response: str) -> str | None:
    r"""Return the content of the last balanced `\boxed{}`, or None; of nested ones the innermost."""
    found = all_of(response)
    return found[-1] if found else None

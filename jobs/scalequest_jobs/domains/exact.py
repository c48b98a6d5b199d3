"""Exact values of arithmetic: rationals, powers, no letters and no rounding."""

import re
from fractions import Fraction

MAXIMUM_LENGTH = 256
MAXIMUM_DEPTH = 24
# About 5,000 decimal digits: more than any answer, and microseconds to compute.
MAXIMUM_BITS = 16384

_PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_TIMES = re.compile(r"\*|\\cdot(?![A-Za-z])|\\times(?![A-Za-z])")
_DIVIDED = re.compile(r"/|\\div(?![A-Za-z])|:")
_SPACE = re.compile(r"\s*")
_ALLOWED = re.compile(r"(?:[0-9\s.+\-*/:^(){}]|\\frac|\\cdot|\\times|\\div)+")


class TooLargeError(ValueError):
    """The expression is arithmetic, but its value has too many digits to compute."""


class _NotArithmeticError(ValueError):
    pass


def value(text: str) -> Fraction | None:
    r"""Return the exact value of an arithmetic expression, or None if it is anything else.

    Known are decimals, + - * / : ^, `\cdot`, `\times`, `\div`, `\frac{}{}`, parentheses, and mixed
    numbers such as `3\frac{1}{2}`.

    Raises:
        TooLargeError: a power has more than `MAXIMUM_BITS` bits.
    """
    if _PLAIN.fullmatch(text) and len(text) <= MAXIMUM_LENGTH:
        return Fraction(text)
    if len(text) > MAXIMUM_LENGTH or not _ALLOWED.fullmatch(text):
        return None
    reader = _Reader(text)
    try:
        result = reader.sum(0)
    except (_NotArithmeticError, ZeroDivisionError):
        return None
    return result if reader.position == len(text) else None


class _Reader:
    """Recursive descent; every method reads one level of precedence and moves `position`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def take(self, pattern: re.Pattern[str] | str) -> str | None:
        """Return and pass what stands here, or None."""
        self.position = _end(_SPACE, self.text, self.position)
        if isinstance(pattern, str):
            found = pattern if self.text.startswith(pattern, self.position) else None
        else:
            match = pattern.match(self.text, self.position)
            found = match.group() if match else None
        self.position = _end(_SPACE, self.text, self.position + len(found or ""))
        return found

    def sum(self, depth: int) -> Fraction:
        if depth > MAXIMUM_DEPTH:
            raise _NotArithmeticError
        sign = -1 if self.take("-") else 1
        if sign == 1:
            self.take("+")
        total = sign * self.product(depth)
        while operator := self.take("+") or self.take("-"):
            term = self.product(depth)
            total = total + term if operator == "+" else total - term
        return total

    def product(self, depth: int) -> Fraction:
        result = self.power(depth)
        while True:
            if self.take(_TIMES):
                result = _limited(result * self.signed_power(depth))
            elif self.take(_DIVIDED):
                result = _limited(result / self.signed_power(depth))
            else:
                return result

    def signed_power(self, depth: int) -> Fraction:
        return -self.power(depth) if self.take("-") else self.power(depth)

    def power(self, depth: int) -> Fraction:
        base = self.atom(depth)
        if not self.take("^"):
            return base
        if self.text[self.position : self.position + 1] == "{":
            return _raised(base, self.atom(depth))
        sign = -1 if self.take("-") else 1
        return _raised(base, sign * self.atom(depth))

    def atom(self, depth: int) -> Fraction:
        if self.take("("):
            return self.closed(")", depth)
        if self.take("{"):
            return self.closed("}", depth)
        if self.take("\\frac"):
            return self.fraction(depth)
        number = self.take(_NUMBER)
        if number is None:
            raise _NotArithmeticError
        if "." not in number and self.take("\\frac"):
            part = self.fraction(depth)
            if not 0 < part < 1:
                raise _NotArithmeticError
            return Fraction(number) + part
        return Fraction(number)

    def fraction(self, depth: int) -> Fraction:
        parts: list[Fraction] = []
        for _ in range(2):
            if not self.take("{"):
                raise _NotArithmeticError
            parts.append(self.closed("}", depth))
        return parts[0] / parts[1]

    def closed(self, bracket: str, depth: int) -> Fraction:
        result = self.sum(depth + 1)
        if not self.take(bracket):
            raise _NotArithmeticError
        return result


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position


def _bits(number: Fraction) -> int:
    return max(number.numerator.bit_length(), number.denominator.bit_length())


def _limited(number: Fraction) -> Fraction:
    if _bits(number) > MAXIMUM_BITS:
        raise TooLargeError
    return number


def _raised(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise _NotArithmeticError
    if base not in (0, 1, -1) and abs(exponent.numerator) * _bits(base) > MAXIMUM_BITS:
        raise TooLargeError
    if base in (1, -1):
        return base if exponent.numerator % 2 else Fraction(1)
    if base == 0 and exponent > 0:
        return base
    return base**exponent.numerator

"""Units of measurement at the end of an answer."""

import re

# One name per unit and its spellings. Only units that change a number's meaning matter here: two
# answers with different ones are different, and one without a unit agrees with any.
_SPELLINGS = {
    "mm": "mm millimeter millimeters millimetre millimetres",
    "cm": "cm centimeter centimeters centimetre centimetres",
    "m": "m meter meters metre metres",
    "km": "km kilometer kilometers kilometre kilometres",
    "in": "inch inches",
    "ft": "ft foot feet",
    "yd": "yd yard yards",
    "mi": "mile miles",
    "mg": "mg milligram milligrams",
    "g": "g gram grams",
    "kg": "kg kilogram kilograms",
    "lb": "lb lbs pound pounds",
    "oz": "oz ounce ounces",
    "ml": "ml mL milliliter milliliters",
    "l": "L liter liters litre litres",
    "gal": "gallon gallons",
    "s": "s sec secs second seconds",
    "min": "min mins minute minutes",
    "h": "h hr hrs hour hours",
    "day": "day days",
    "week": "week weeks",
    "month": "month months",
    "year": "year years",
    "km/h": "km/h kmh kph",
    "mi/h": "mph",
    "m/s": "m/s",
    "dollar": "dollar dollars usd USD",
    "cent": "cent cents",
    "euro": "euro euros",
    "percent": "percent percents",
    "degree": "degree degrees",
    "radian": "radian radians rad",
}
_NAMES = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_POWERS = {"square": "^2", "sq": "^2", "cubic": "^3"}
_FUNCTIONS = frozenset(
    re.findall(r"\w+", "sin cos tan cot sec csc log ln exp sqrt mod and or pi max min gcd lcm")
)

_TAIL = re.compile(
    r"(?P<value>.*[\d}).])(?:\s+|(?=[a-zA-Z]{2}))(?P<tail>[A-Za-z/]+(?:\s+[A-Za-z/]+){0,4})(?P<power>\s?\^\{?[23]\}?)?$",
    re.DOTALL,
)


def split(text: str) -> tuple[str, str | None]:
    """Return an answer without the words behind its number, and the unit they name, if a known one.

    A noun ("12 apples") is dropped too. What could be a variable or a function ("2 x", "3 sin") stays.
    """
    found = _TAIL.fullmatch(text)
    if found is None:
        return text, None
    words, power = found["tail"].split(), found["power"] or ""
    if unit := _unit(words, power):
        return found["value"], unit
    is_prose = text[found.end("value")].isspace() and all(len(w) > 2 or w == "of" for w in words)
    if power or not is_prose or _FUNCTIONS.intersection(words):
        return text, None
    return found["value"], None


def _unit(words: list[str], power: str) -> str | None:
    exponent = power.strip(" {}").replace("{", "").replace("}", "")
    if len(words) == 2 and words[0] in _POWERS:
        words, exponent = words[1:], _POWERS[words[0]]
    if len(words) == 2 and words[1] in ("squared", "cubed"):
        words, exponent = words[:1], "^2" if words[1] == "squared" else "^3"
    if len(words) == 3 and words[1] == "per":
        return f"{_NAMES.get(words[0], words[0])}/{_NAMES.get(words[2], words[2])}"
    name = _NAMES.get(words[0]) if len(words) == 1 else None
    return None if name is None else name + exponent

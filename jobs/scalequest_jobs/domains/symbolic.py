"""Symbolic equivalence by math-verify, in a worker process that can be killed.

sympy may run for ever or take all memory on a short input (a power tower), and math-verify's own time
limit is a signal that works in a main thread only; a process that is killed holds nothing up. The limit
is in CPU time: which answers are the same must not depend on what else the machine does.
"""

import atexit
import functools
import importlib
import logging
import multiprocessing
import resource
import signal
import threading
from concurrent import futures
from typing import Any, Literal

import pebble

from scalequest_jobs import ports

Decision = Literal["equal", "different", "undecided"]

# A residual pair takes 5 to 20 ms; what is not done after this never ends.
CPU_SECONDS = 3.0
# A worker that gets a thirtieth of a core is as good as dead.
_WALL_FACTOR = 30
# Importing sympy and its parser in a fresh worker takes 2 to 4 s, many times that on a busy machine.
_START_SECONDS = 180.0
_MEMORY_BYTES = 4 * 2**30
# math-verify compares with an absolute tolerance, so that 2^-99 equals 2^-98; these are relative.
_EXACT_TOLERANCE = "1e-25"
_DECIMAL_TOLERANCE = "1e-6"
_DIGITS = 40
# Where letters are replaced by numbers: three points on no symmetry of school formulas.
_POINTS = ((97, 61), (193, 89), (311, 127))


class Checker:
    """Compares formulas in one worker process, started when first needed.

    Safe to call from several threads. A pair that exceeds the time or memory limit, or that sympy
    cannot read, is "undecided"; the worker is replaced.
    """

    def __init__(self, *, cpu_seconds: float = CPU_SECONDS, workers: int = 1) -> None:
        self._cpu_seconds = cpu_seconds
        self._workers = workers
        self._pool: pebble.ProcessPool | None = None
        self._lock = threading.Lock()

    def compare(self, left: str, right: str) -> Decision:
        """Return whether two LaTeX formulas, without delimiters, are the same; symmetric.

        Raises:
            TryAgainError: the worker process cannot be started.
        """
        try:
            return self._ask(left, right)
        except RuntimeError:
            # Somebody killed the idle worker (memory pressure does), which breaks the pool for good.
            self.close()
        try:
            return self._ask(left, right)
        except RuntimeError as error:
            raise _not_working(str(error)) from error

    def _ask(self, left: str, right: str) -> Decision:
        task = self._started().schedule(
            _decide,
            args=[*sorted((left, right)), self._cpu_seconds],
            timeout=self._cpu_seconds * _WALL_FACTOR,
        )
        try:
            decision: Decision = task.result(timeout=_START_SECONDS)
        except futures.TimeoutError:
            task.cancel()
            return "undecided"
        except pebble.ProcessExpired:
            return "undecided"
        return decision

    def close(self) -> None:
        """Stop the worker; a later comparison starts another."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
            pool.join()

    def _started(self) -> pebble.ProcessPool:
        with self._lock:
            if self._pool is None:
                self._pool = _new_pool(self._workers)
            return self._pool


def _new_pool(workers: int) -> pebble.ProcessPool:
    """Start a pool and see one comparison through: a broken worker must not look like "undecided"."""
    pool = pebble.ProcessPool(
        max_workers=workers,
        initializer=_prepare,
        # Not fork: the caller may hold threads and an engine.
        context=multiprocessing.get_context("spawn"),
    )
    try:
        decision = pool.schedule(_decide, args=["x+1", "1+x", _START_SECONDS]).result(timeout=_START_SECONDS)
    except (futures.TimeoutError, futures.BrokenExecutor, pebble.ProcessExpired) as error:
        decision = f"{type(error).__name__}: {error}"
    if decision != "equal":
        pool.stop()
        pool.join()
        raise _not_working(decision)
    return pool


def _not_working(seen: str) -> ports.TryAgainError:
    return ports.TryAgainError(
        f"the worker process that compares answers does not work ({seen}): expected math-verify to be "
        f"importable and {_MEMORY_BYTES // 2**30} GiB of address space; the worker's error output says more"
    )


@functools.lru_cache(maxsize=1)
def shared() -> Checker:
    """Return the checker of this process, closed at exit."""
    checker = Checker()
    atexit.register(checker.close)
    return checker


# --- In the worker ------------------------------------------------------------------------------


def _prepare() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    # It warns once that its own time limit is off, which is what the killable process is for.
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    import math_verify  # noqa: F401 - so that no comparison pays for the import


def _decide(left: str, right: str, cpu_seconds: float) -> Decision:
    """Compare two formulas; the process ends by SIGPROF when that takes longer."""
    import math_verify

    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        one, other = _parsed(left), _parsed(right)
        if one is None or other is None:
            return "undecided"
        if not any(math_verify.verify(a, b, timeout_seconds=None) for a, b in ((one, other), (other, one))):
            return "different"
        return "equal" if _is_confirmed(one, other, has_decimals="." in left + right) else "different"
    except Exception:  # noqa: BLE001 - sympy raises anything on odd input, and all of it means: not comparable
        return "undecided"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> Any:
    """Return the sympy object of a formula, or None."""
    import math_verify

    sympy = _sympy()

    found = math_verify.parse(
        f"${text}$",
        extraction_config=[math_verify.LatexExtractionConfig(), math_verify.ExprExtractionConfig()],
        parsing_timeout=None,
    )
    formula = found[0] if found else None
    return formula if isinstance(formula, (sympy.Basic, sympy.MatrixBase)) else None


def _is_confirmed(one: Any, other: Any, *, has_decimals: bool) -> bool:
    """Return whether a match of math-verify holds at high precision, as far as that can be told."""
    sympy = _sympy()
    tolerance = sympy.Float(_DECIMAL_TOLERANCE if has_decimals else _EXACT_TOLERANCE)
    if isinstance(one, sympy.Expr) and isinstance(other, sympy.Expr):
        return all(_is_near(a, b, tolerance) for a, b in _at_points(one, other))
    if isinstance(one, sympy.Eq) and isinstance(other, sympy.Eq):
        return _is_multiple(one.lhs - one.rhs, other.lhs - other.rhs, tolerance)
    return True


def _is_multiple(one: Any, other: Any, tolerance: Any) -> bool:
    """Return whether two equations `... = 0` differ by a constant factor only."""
    pairs = _at_points(one, other)
    if any(b == 0 for _, b in pairs):
        return False
    ratios = [a / b for a, b in pairs]
    return all(_is_near(ratio, ratios[0], tolerance) for ratio in ratios)


def _at_points(one: Any, other: Any) -> list[tuple[Any, Any]]:
    """Return the values of both where every letter is replaced by a number."""
    sympy = _sympy()
    letters = sorted(one.free_symbols | other.free_symbols, key=str)
    pairs = []
    for numerator, denominator in _POINTS:
        values = {
            letter: sympy.Rational(numerator + 7 * place, denominator) for place, letter in enumerate(letters)
        }
        pairs.append(tuple(sympy.N(formula.subs(values), _DIGITS) for formula in (one, other)))
    return pairs


def _sympy() -> Any:
    # By name, because it publishes no types.
    return importlib.import_module("sympy")


def _is_near(a: Any, b: Any, tolerance: Any) -> bool:
    """Return whether two values agree; values that are no numbers (infinity, f(2)) must be equal."""
    if a == b:
        return True
    if not (a.is_number and b.is_number and a.is_finite and b.is_finite):
        return False
    return bool(abs(a - b) <= tolerance * max(abs(a), abs(b)))

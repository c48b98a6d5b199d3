"""Errors that stages and adapters raise on purpose: two words decide what happens next."""


class StageError(Exception):
    """Base of every error that a stage or an adapter raises on purpose.

    The tree decides the exit code (`contract/launch.py`)::

        StageError
        +-- BadParametersError   64: the spec asks for something impossible; never retried
        +-- BadInputError        65: a file, row or model is not what it should be; never retried
        +-- TryAgainError        75: a store, endpoint or node failed; another attempt may succeed
            +-- StoppedError     75: the worker was asked to stop and did so at a chunk boundary
    """


class BadParametersError(StageError):
    """The parameters cannot work; the message names the field, what was seen and the fix."""


class BadInputError(StageError):
    """An input is unusable; the message names the file, key or row, and what was expected."""


class TryAgainError(StageError):
    """Something outside failed and may recover; the attempt ends, its committed chunks stay."""


class StoppedError(TryAgainError):
    """The worker was asked to stop; every finished chunk is committed."""

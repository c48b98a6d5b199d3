"""Secrets from mounted files. A secret is never part of a message, a repr or a log line."""

from pathlib import Path

from scalequest_jobs import ports


def read(path: Path, *, purpose: str) -> str:
    """Return the one line that a secret file holds, read anew so that a rotated secret is seen.

    Raises BadParametersError, naming the file and `purpose` but never the content, when the file
    cannot be read, is empty, or holds anything besides one line of printable ASCII.
    """
    try:
        text = path.read_bytes().decode("ascii").strip()
    except OSError as error:
        raise ports.BadParametersError(
            f"{purpose}: file {path} cannot be read ({error.strerror}); mount the secret there"
        ) from error
    except UnicodeDecodeError:
        raise ports.BadParametersError(f"{purpose}: file {path} is not ASCII text") from None
    if not text:
        raise ports.BadParametersError(f"{purpose}: file {path} is empty; expected one line")
    if not text.isprintable():
        raise ports.BadParametersError(
            f"{purpose}: file {path} holds more than one line or control characters"
        )
    return text

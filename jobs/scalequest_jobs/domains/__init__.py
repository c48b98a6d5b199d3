"""What a subject needs: prompts, answer extraction, equivalence, and what a valid question looks like.

Law: pure, no heavy library; adding a domain touches no stage.
"""

from scalequest_jobs import ports
from scalequest_jobs.domains import base, math

DOMAINS: tuple[base.Domain, ...] = (math.MATH,)


def by_name(name: str) -> base.Domain:
    """Return the domain of a name.

    Raises:
        BadParametersError: there is none; the message lists the names.
    """
    for domain in DOMAINS:
        if domain.name == name:
            return domain
    known = ", ".join(domain.name for domain in DOMAINS)
    raise ports.BadParametersError(f"domain {name!r} is unknown: expected one of {known}")

"""Artifacts of the stage cache that were found whole a moment ago: runs that share their first stages ask at the same time."""

import datetime as dt
import threading
from collections import OrderedDict
from typing import Final

from scalequest_jobs import ports
from scalequest_jobs.execution import launching
from scalequest_operator.planning.model import Committed

KEPT: Final = dt.timedelta(seconds=60)
"""How long a hit is trusted. Whoever reads the artifact checks it again, so a loss in between ends in no wrong result."""

REMEMBERED: Final = 1000


class RecentHits:
    """Looks artifacts up by fingerprint, each at most once a minute once it is there. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._hits: OrderedDict[tuple[str, str], tuple[Committed, dt.datetime]] = OrderedDict()

    def find(self, store: ports.ArtifactStore, stage_fingerprint: str, now: dt.datetime) -> Committed | None:
        """Return the committed artifact of a fingerprint; what is not there is asked for every time."""
        place = store.describe(), stage_fingerprint
        with self._guard:
            known, since = self._hits.get(place, (None, now))
        if known and now - since < KEPT:
            return known
        hit = launching.cached(store, stage_fingerprint, sees_volumes=False)
        if hit is None:
            return None
        found = Committed(artifact=hit[0], counts=hit[1].counts)
        with self._guard:
            self._hits[place] = found, now
            self._hits.move_to_end(place)
            while len(self._hits) > REMEMBERED:
                self._hits.popitem(last=False)
        return found

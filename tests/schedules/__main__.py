"""`PYTHONPATH=tests:examples .venv/bin/python -m schedules SEED`: one schedule again, with what happened in it."""

import sys
import traceback

from schedules import batch
from schedules.schedule import Schedule


def main(seed: int) -> int:
    """Run a schedule and print its steps, the last changes of the cluster, and how it ended."""
    batch.prepare()
    schedule = Schedule(seed)
    try:
        schedule.run(batch.STEPS)
    except Exception:  # noqa: BLE001 - printed, and told by the exit code
        traceback.print_exc()
        code = 1
    else:
        code = 0
    print("steps:", ", ".join(schedule.trace))  # noqa: T201
    for change in schedule.world.store.history[-40:]:
        place, status = change.place, change.body.get("status")
        print(change.version, place.plural, place.name, "gone" if change.gone else "", status)  # noqa: T201
    print("ended:", schedule.status())  # noqa: T201
    return code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

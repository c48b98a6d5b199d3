"""What the filters and the selection were worth, held against the tiny world's truth."""

import json
from collections.abc import Iterable
from pathlib import Path

from scalequest_jobs import ports
from scalequest_jobs.contract.artifact import ArtifactRef
from scalequest_jobs.execution import reading
from scalequest_jobs.publishing import address
from scalequest_jobs.stores.address import open_store
from tiny_world import world


def report(dataset: Path, credentials: Path | None = None) -> str:
    """Return solvable rates before and after the filters, and the share of right pairs, in words."""
    store = open_store(address.read(dataset).store, credentials=credentials)
    lineage = json.loads((dataset / "lineage.json").read_text(encoding="utf-8"))
    nodes = {node: ArtifactRef.model_validate(ref) for node, ref in lineage.items()}
    lines = ["Against the tiny world's truth:"]
    written = sorted(name for name in nodes if name.startswith(("sample-pref", "generate-questions")))
    lines += [f"  {node:45} solvable {_solvable(_column(store, nodes[node], 'text'))}" for node in written]
    cleaned = _column(store, nodes["clean-questions"], "text")
    selected = _column(store, nodes["select-questions"], "text")
    lines.append(f"  {'after format, language and duplicates':45} solvable {_solvable(cleaned)}")
    lines.append(f"  {'after difficulty and solvability':45} solvable {_solvable(selected)}")
    candidates = _pairs(store, nodes["generate-responses"], "query", "text")
    pairs = _pairs(store, nodes["select-responses"], "query", "response")
    lines.append(f"  {'candidate answers':45} right    {_right(candidates)}")
    lines.append(f"  {'kept answers (the dataset)':45} right    {_right(pairs)}")
    return "\n".join(lines)


def _column(store: ports.ArtifactStore, ref: ArtifactRef, name: str) -> list[str]:
    table = reading.TableReader(store, reading.read_manifest(store, ref)).table()
    return [str(value) for value in table.column(name).to_pylist()]


def _pairs(store: ports.ArtifactStore, ref: ArtifactRef, query: str, response: str) -> list[tuple[str, str]]:
    return list(zip(_column(store, ref, query), _column(store, ref, response), strict=True))


def _solvable(questions: list[str]) -> str:
    return _share(world.truth(question) is not None for question in questions)


def _right(pairs: list[tuple[str, str]]) -> str:
    return _share(world.is_right(question, response) for question, response in pairs)


def _share(facts: Iterable[bool]) -> str:
    known = list(facts)
    return f"{100 * sum(known) / len(known):5.1f} % of {len(known):,}" if known else "nothing to measure"

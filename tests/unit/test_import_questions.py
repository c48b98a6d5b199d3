"""Reading files of questions: every format, every bad row, every file that is none."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders import make_run
from in_process import Launcher
from scalequest_jobs import catalog, ports
from scalequest_jobs.execution import reading
from scalequest_jobs.stages.import_questions import SEEDS
from scalequest_jobs.stores.memory import MemoryStore
from scripted_world import WorldEngines

QUESTIONS = [{"question": "Find x.", "answer": "3"}, {"question": "Find y,\nthen z.", "answer": "4"}]


def imported(folder: Path, **source: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return rows and rejects of an import."""
    store = MemoryStore()
    launcher = Launcher(make_run(seedQuestions=source).spec, store, WorldEngines(), folder)
    launcher.step(catalog.plan(launcher.spec)[SEEDS])
    manifest = launcher.done[SEEDS][1]
    assert manifest.counts.rows_in == manifest.counts.rows_out + sum(manifest.counts.rejected.values())
    rows = reading.TableReader(store, manifest).table().to_pylist()
    return rows, reading.TableReader(store, manifest, "rejects").table().to_pylist()


def lines(*rows: Any) -> bytes:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()


def parquet(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(QUESTIONS), path)


def jsonl(path: Path) -> None:
    path.write_bytes(lines(*QUESTIONS))


def jsonl_zst(path: Path) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        file.write(lines(*QUESTIONS))


def jsonl_gz(path: Path) -> None:
    path.write_bytes(gzip.compress(lines(*QUESTIONS)))


def csv(path: Path) -> None:
    path.write_text('question,answer\nFind x.,3\n"Find y,\nthen z.",4\n')


def csv_of_a_spreadsheet(path: Path) -> None:
    path.write_bytes(b'\xef\xbb\xbfquestion,answer\r\nFind x.,3\r\n"Find y,\nthen z.",4\r\n')


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("seeds.parquet", parquet),
        ("seeds.jsonl", jsonl),
        ("my.seeds.v1.jsonl", jsonl),
        ("seeds.jsonl.zst", jsonl_zst),
        ("seeds.jsonl.gz", jsonl_gz),
        ("seeds.csv", csv),
        ("seeds.csv", csv_of_a_spreadsheet),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    rows, rejects = imported(tmp_path, path=name, answerColumn="answer")
    assert [(row["question"], row["answer"]) for row in rows] == [("Find x.", "3"), ("Find y,\nthen z.", "4")]
    assert [(row["source"], row["row"]) for row in rows] == [(name, 1), (name, 2)]
    assert len({row["seed_id"] for row in rows}) == 2
    assert rejects == []


def test_bad_rows_are_rejected_each_with_its_number_while_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_bytes(
        lines(
            {"question": "Find x."},
            "{not json",
            {"other": "Find y."},
            {"question": "  "},
            {"question": 7},
            {"question": None},
            "[1]",
            {"question": "find  X."},
            '{"question": "half \\ud800 pair"}',
            {"question": "Find z."},
        )
    )
    rows, rejects = imported(tmp_path, path="seeds.jsonl")
    assert [(row["row"], row["question"]) for row in rows] == [(1, "Find x."), (10, "Find z.")]
    assert [row["reason"] for row in rejects] == [
        "unreadable", "missing", "empty", "not_text", "missing", "unreadable", "duplicate", "unreadable",
    ]  # fmt: skip
    places = [row["detail"].partition(":")[0] for row in rejects]
    assert places == [f"seeds.jsonl row {number}" for number in range(2, 10)]
    assert "not JSON" in rejects[0]["detail"]
    assert "a JSON list, expected an object" in rejects[5]["detail"]
    assert "surrogate" in rejects[7]["detail"]
    assert {row["stage"] for row in rejects} == {SEEDS}


def test_a_csv_row_of_other_length_costs_that_row_alone(tmp_path: Path) -> None:
    (tmp_path / "seeds.csv").write_text("answer,question\n3,Find x.\n4,Find y.,extra\n5\n6,Find z.\n")
    rows, rejects = imported(tmp_path, path="seeds.csv", answerColumn="answer")
    assert [row["row"] for row in rows] == [1, 4]
    assert [(row["reason"], row["detail"]) for row in rejects] == [
        ("unreadable", "seeds.csv row 2: 1 cells more than the header"),
        ("missing", "seeds.csv row 3"),
    ]


def test_a_json_row_may_hold_characters_at_which_text_breaks_lines(tmp_path: Path) -> None:
    text = "Find\u2028x\u0085and\u000by."
    (tmp_path / "seeds.jsonl").write_text(
        json.dumps({"question": text}, ensure_ascii=False) + "\r\n", encoding="utf-8"
    )
    rows, _ = imported(tmp_path, path="seeds.jsonl")
    assert [row["question"] for row in rows] == [text]


def test_an_answer_of_any_type_becomes_text_and_none_stays_none(tmp_path: Path) -> None:
    answers = [3, 2.5, None, " 7 "]
    (tmp_path / "seeds.jsonl").write_bytes(
        lines(*({"question": f"Find {n}.", "answer": answer} for n, answer in enumerate(answers)))
    )
    rows, _ = imported(tmp_path, path="seeds.jsonl", answerColumn="answer")
    assert [row["answer"] for row in rows] == ["3", "2.5", None, "7"]


def test_at_most_the_rows_asked_for_are_read(tmp_path: Path) -> None:
    jsonl(tmp_path / "seeds.jsonl")
    rows, _ = imported(tmp_path, path="seeds.jsonl", maxRows=1)
    assert [row["row"] for row in rows] == [1]


def test_a_file_may_be_an_object_in_the_bucket(tmp_path: Path) -> None:
    store = MemoryStore()
    store.put("seeds/a.jsonl", lines(*QUESTIONS))
    launcher = Launcher(
        make_run(seedQuestions={"key": "seeds/a.jsonl"}).spec, store, WorldEngines(), tmp_path
    )
    launcher.step(catalog.plan(launcher.spec)[SEEDS])
    assert launcher.done[SEEDS][1].counts.rows_out == 2


@pytest.mark.parametrize(
    ("name", "data", "source", "message"),
    [
        ("seeds.jsonl", None, {"path": "none.jsonl"}, r"cannot read /.*none\.jsonl: No such file.*check the path"),
        ("seeds.jsonl", None, {"key": "none.jsonl"}, r"none\.jsonl is not in memory; upload it or correct the key"),
        ("seeds.txt", b"x", {}, r"seeds\.txt has no known ending: use \.parquet, \.jsonl, \.jsonl\.zst or \.csv"),
        ("seeds", b"x", {}, r"seeds has no known ending"),
        ("seeds.gz", gzip.compress(b"x", mtime=0), {}, r"seeds\.gz has no known ending"),
        ("seeds.jsonl", b"", {}, r"seeds\.jsonl has no rows"),
        ("seeds.csv", b"question\n", {}, r"seeds\.csv has no rows"),
        (
            "seeds.jsonl",
            lines({"problem": "x", "answer": 1}),
            {},
            r"seeds\.jsonl has no column 'question'; it has \['answer', 'problem'\]: correct the column",
        ),
        ("seeds.csv", b"question\nx\n", {"answerColumn": "key"}, r"no column 'key'; it has \['question'\]"),
        ("seeds.jsonl", b"\xff\xfe", {}, r"seeds\.jsonl cannot be read as \.jsonl"),
        ("seeds.parquet", b"PAR1", {}, r"seeds\.parquet cannot be read as \.parquet"),
        ("seeds.jsonl.zst", b"plain", {}, r"seeds\.jsonl\.zst cannot be read as \.(zst|jsonl)"),
        ("seeds.csv", b"question\n" + b"x" * 200_000, {}, r"seeds\.csv cannot be read as \.csv: field larger"),
        ("seeds.jsonl", lines({"question": " "}), {}, r"has no usable row: seeds\.jsonl row 1: empty"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_ends_the_stage_with_its_name_and_the_fix(
    tmp_path: Path, name: str, data: bytes | None, source: dict[str, Any], message: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ports.BadInputError, match=message):
        imported(tmp_path, **({"path": name} | source if "key" not in source else source))

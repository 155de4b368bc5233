"""What results say of the data they come from."""

import pytest

from earshot import contracts, data_facts, tables

FACTS = {
    "split_sha256": "0123456789abcdef" * 4,
    "expected": {"test": 12},
    "summary": {"test": {"listed": 10, "found": 8, "no_track": 2, "silent": 1, "duplicates": 0, "leaks": 3}},
}


def test_a_sentence_counts_what_was_there_and_names_the_splits():
    told = data_facts.sentence(FACTS, "test")
    assert told == (
        " Data of test (0123456789ab): 8 of 10 listed clips found; 12 were published; 2 without a sound track; "
        "1 with a silent one; 3 shared with another split."
    )


def test_what_was_published_is_said_only_where_the_list_differs():
    assert "published" not in data_facts.sentence({**FACTS, "expected": {"test": 10}}, "test")
    assert "published" not in data_facts.sentence({**FACTS, "expected": {}}, "test")


@pytest.mark.parametrize("facts", [{}, {"summary": {}}, {**FACTS, "summary": {"val": {}}}])
def test_of_unknown_data_nothing_is_said(facts):
    assert data_facts.sentence(facts, "test") == ""


def test_rows_carry_the_identity_of_their_datasets_splits():
    rows = [{"dataset": "a", "value": 1.0}, {"dataset": "b", "value": 2.0}]
    marked = data_facts.marked(rows, {"a": FACTS})
    assert [row["split_id"] for row in marked] == ["0123456789ab", ""]
    assert rows[0] == {"dataset": "a", "value": 1.0}


def test_facts_go_from_a_datasets_table_into_every_caption(tmp_path):
    classes, metrics = str(tmp_path / "classes.parquet"), str(tmp_path / "metrics.parquet")
    contracts.write([], contracts.CLASSES, classes, {"dataset": "toy", **FACTS})
    data = data_facts.of_tables(["toy"], [classes])
    contracts.write([], contracts.METRICS, metrics, {"data": data})
    about = data_facts.with_data(tables.About("t", {}, "test", [0], {}), metrics)
    table = tables.Table("n", "t", "Accuracy. ", ("a",), (("b",),))
    (said,) = tables.saying(about.data["toy"], [table, None])
    assert said.caption.startswith("Accuracy. Data of test (0123456789ab): 8 of 10")

"""Tables keep their contracts, or say why not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earshot import contracts, files
from earshot.parts import PartStore

ROW = {"class_id": 0, "name": "dog", "prompt": "dog"}


def test_equal_tables_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        contracts.write([ROW], contracts.CLASSES, tmp_path / f"{name}.parquet", {"b": 1, "a": "ü"})
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert contracts.read(tmp_path / "a.parquet", contracts.CLASSES) == [ROW]
    assert contracts.facts_of(tmp_path / "a.parquet") == {"contract": contracts.VERSION, "a": "ü", "b": 1}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"class_id": 0, "name": "dog"}, r"row 0: surplus columns \[\], missing columns \['prompt'\]"),
        ({**ROW, "extra": 1}, r"surplus columns \['extra'\]"),
        ({**ROW, "name": None}, "column 'name', row 0: null is not allowed"),
        ({**ROW, "class_id": 70_000}, r"column 'class_id' \(int16\)"),
        ({**ROW, "class_id": 1.5}, r"column 'class_id'"),
        ({**ROW, "name": 3}, "column 'name'"),
    ],
)
def test_a_wrong_row_is_refused_and_leaves_no_file(tmp_path, row, message):
    with pytest.raises(contracts.ContractError, match=message):
        contracts.write([row], contracts.CLASSES, tmp_path / "x.parquet", {})
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_another_contract_is_refused(tmp_path):
    contracts.write([ROW], contracts.CLASSES, tmp_path / "x.parquet", {})
    with pytest.raises(contracts.ContractError, match="do not keep the contract"):
        contracts.read(tmp_path / "x.parquet", contracts.EVENTS)


def test_units_are_in_the_schema():
    assert contracts.CLIPS.field("start").metadata[b"unit"] == b"s"
    assert contracts.METRICS.field("low").metadata[b"note"]


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=6))
def test_fingerprints_do_not_depend_on_the_order_of_keys(values):
    assert files.fingerprint(values) == files.fingerprint(dict(reversed(values.items())))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_part_that_cannot_be_read_counts_as_missing(tmp_path):
    store = PartStore(tmp_path)
    assert store.get("abc", contracts.CLASSES, "x") is None
    store.put("abc", [ROW], contracts.CLASSES, "x")
    assert store.get("abc", contracts.CLASSES, "x") == [ROW]
    next(tmp_path.rglob("*.parquet")).write_bytes(b"PAR1 half a file")
    assert store.get("abc", contracts.CLASSES, "x") is None

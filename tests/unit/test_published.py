"""The numbers printed in papers."""

import math

import pytest

from earshot import contracts, published_numbers


def test_all_files_keep_the_contract():
    rows = published_numbers.load()
    assert len(rows) == 920
    contracts.to_table(rows, contracts.PUBLISHED)
    assert all(math.isfinite(row["value"]) and row["source"] for row in rows)
    assert {row["kind"] for row in rows} == {"reported", "retested"}


def test_no_number_is_there_twice():
    keys = [tuple(v for k, v in row.items() if k != "value") for row in published_numbers.load()]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(("method", "off"), [("source", 0.04), ("bn_adaptation", 0.1), ("ame", 0.01), ("sar", 0.01)])
def test_printed_means_are_those_of_their_cells(method, off):
    """Two of the printed means of AME's table are off by a few hundredths; the transcription is checked by the others."""
    rows = published_numbers.beside("ucf101", "tanet", method)
    mean = next(row for row in rows if row["corruption"] == "mean_11")
    parts = published_numbers.members(mean, rows)
    assert len(parts) == 11 and "defocus" not in parts
    cells = [row["value"] for row in rows if row["corruption"] in parts]
    assert mean["value"] == pytest.approx(sum(cells) / 11, abs=off)


def test_lookup_filters_by_every_key_that_is_given():
    (row,) = published_numbers.beside("ucf101", "tanet", "source", "gauss")
    assert (row["value"], row["unit"], row["paper"]) == (17.5, "%", "AME")
    assert published_numbers.beside("ucf101", "video_swin") == []


def test_answers_are_copies():
    published_numbers.beside("ucf101")[0]["value"] = -1.0
    assert published_numbers.beside("ucf101")[0]["value"] > 0


def test_a_mean_without_its_members_has_none():
    rows = [row for row in published_numbers.beside("ucf101", "tanet", "ame") if row["corruption"] != "rain"]
    mean = next(row for row in rows if row["corruption"] == "mean_11")
    assert published_numbers.members(mean, rows) == []


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("p,t,d,c,b,m,top1,many,%,reported,s,", "line 2: 'value' is not a number: 'many'"),
        ("p,t,d,c,b,m,top1,1.0,%,rumour,s,", "line 2: 'kind' must be"),
        ("p,t,d,c,b,m,top1,1.0,%,reported,,", "'source' not empty"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, match):
    path = tmp_path / "bad.csv"
    path.write_text(",".join(contracts.PUBLISHED.names) + "\n" + line + "\n")
    with pytest.raises(contracts.ContractError, match=match):
        published_numbers.read_csv(path)

"""Choice of hyper-parameters: what was tried under several corruptions is added up, and the first of equals wins."""

import json

from earshot import contracts, tuning


def tried(folder, corruption, rights):
    path = folder / f"{corruption}.parquet"
    rows = [tuning.trial(method, json.dumps({"lr": lr}), right, n) for (method, lr), (right, n) in rights.items()]
    contracts.write(rows, contracts.TUNING, path, {"split": "val", "corruptions": [corruption], "seed": 0})
    return str(path)


def test_the_candidate_with_most_clips_right_over_all_corruptions_is_chosen(tmp_path):
    gauss = tried(tmp_path, "gauss", {("vitta", 1e-5): (2, 10), ("vitta", 1e-4): (5, 10), ("tent", 1e-5): (1, 10)})
    h265 = tried(tmp_path, "h265_abr", {("vitta", 1e-5): (9, 10), ("vitta", 1e-4): (5, 10), ("tent", 1e-5): (0, 9)})
    tuning.choose([gauss, h265], str(tmp_path / "chosen.json"), str(tmp_path / "trials.parquet"))
    assert json.loads((tmp_path / "chosen.json").read_text()) == {"vitta": {"lr": 1e-5}, "tent": {"lr": 1e-5}}
    rows = contracts.read(tmp_path / "trials.parquet", contracts.TUNING)
    assert [(row["right"], row["n"], row["chosen"]) for row in rows] == [(11, 20, True), (10, 20, False), (1, 19, True)]
    assert contracts.facts_of(tmp_path / "trials.parquet")["corruptions"] == ["gauss", "h265_abr"]


def test_the_first_of_equals_wins_and_nothing_to_try_on_is_no_error(tmp_path):
    path = tried(tmp_path, "gauss", {("vitta", 1e-4): (0, 0), ("vitta", 1e-5): (0, 0)})
    tuning.choose([path], str(tmp_path / "chosen.json"), str(tmp_path / "trials.parquet"))
    assert json.loads((tmp_path / "chosen.json").read_text()) == {"vitta": {"lr": 1e-4}}

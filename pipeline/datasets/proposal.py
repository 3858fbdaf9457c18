"""A config for a table that nobody has described yet."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.config.load import model_name
from pipeline.config.sections import Data
from pipeline.config.write import as_set, block, comment, scalar
from pipeline.datasets.checks.row_structure import propose_split
from pipeline.datasets.column_inference import MARKS, Inferred, infer, positive_class
from pipeline.datasets.kinds import MISSING
from pipeline.datasets.sources import stem
from pipeline.errors import ConfigError
from pipeline.schema.contract import Label

MOST_CLASSES = 20  # of a column that could be a target
MOST_NAMED = 8
SPLITS = {
    "group": "a column whose rows belong together, such as those of one patient",
    "time": "a column by which to train on the past and to test on the future",
}


@dataclass(frozen=True)
class Proposal:
    """The text of a config, and what is to be said of the table."""

    text: str
    findings: tuple[str, ...]


def possible_targets(table: pd.DataFrame) -> list[str]:
    """The columns that have a few values, with those values, or numbers; the last column first."""
    names = []
    for place, name in reversed(list(enumerate(map(str, table.columns)))):
        cells = table.iloc[:, place]
        missing, marks = missing_targets(cells)
        there = cells[cells.notna() & ~cells.isin(marks)]
        values = there.astype(str).unique()
        gaps = f"; {missing} missing" if missing else ""
        if name and 2 <= len(values) <= MOST_CLASSES:
            few = ", ".join(sorted(values)[:MOST_NAMED])
            more = ", ..." if len(values) > MOST_NAMED else ""
            names.append(f"{name} ({few}{more}{gaps})")
        elif name and len(values) > MOST_CLASSES and is_numeric(there):
            names.append(f"{name} (an amount{gaps})")
    return names


def is_numeric(cells: "pd.Series[Any]") -> bool:
    """Whether a column holds numbers alone, in all rows, and none of them a truth."""
    numbers = pd.to_numeric(cells, errors="coerce")
    return bool(numbers.notna().all()) and not pd.api.types.is_bool_dtype(cells)


def with_missing_targets(data: Data, table: pd.DataFrame) -> Data:
    """The settings with `target_missing` where rows have no target, or a mark in place of a number.

    What does not name one column of the table is left as it is.
    """
    if list(map(str, table.columns)).count(data.target) != 1:
        return data
    missing, marks = missing_targets(table[data.target])
    return data.model_copy(update={"target_missing": tuple(marks)}) if missing else data


def missing_targets(cells: "pd.Series[Any]") -> tuple[int, list[str]]:
    """How many cells stand for a missing value, and the texts by which some of them do.

    A text does so where all others are numbers: among texts `NA` may be a class.
    """
    empty, there = int(cells.isna().sum()), cells.dropna()
    if not pd.api.types.is_string_dtype(there):
        return empty, []
    is_mark = there.isin(MISSING) | there.str.strip().str.lower().isin(MARKS)
    numbers = there[~is_mark]
    if not is_mark.any() or not len(numbers) or not is_numeric(numbers):
        return empty, []
    return empty + int(is_mark.sum()), sorted(set(there[is_mark]))


def propose(
    data: Data, table: pd.DataFrame, y: "pd.Series[Any]", classes: Sequence[Label]
) -> Proposal:
    """The config of the table, with all that it says of itself.

    `y` is the target of the rows that have one, and `classes` are those of it, sorted; amounts have
    none.
    """
    inferred = infer(table, {data.target})
    if not inferred.columns:
        raise ConfigError(f"{data.source!r} has no column beside {data.target!r} to learn from")
    positive = positive_class(y, classes)
    balance = _balance(y, classes) if classes else _span(y)
    split = propose_split(table.loc[y.index], inferred.columns, data.target, y)
    without = f"{len(table) - len(y)} rows have no target and are left out"
    lines = [
        *_source_lines(data),
        *_target_lines(data, classes, positive, balance, without),
        *_column_lines(inferred),
        *_split_lines(split),
        *_gate_lines(data, "log_loss" if classes else "rmse"),
    ]
    return Proposal(
        "\n".join([*lines, ""]),
        (
            f"{len(table)} rows; {_kinds(inferred)}",
            _target(data, classes, positive, balance) if classes else f"{data.target}: {balance}",
            *([f"{data.target}: {without}"] if data.target_missing is not None else []),
            *_findings(inferred),
            *_leading_zeros(data, classes),
            *(f"split.{key} may be {name!r}: {reason}" for key, (name, reason) in split.items()),
        ),
    )


def _balance(y: "pd.Series[Any]", classes: Sequence[Label]) -> str:
    counts = y.astype(str).value_counts()
    return ", ".join(f"{label} {counts.get(str(label), 0)}" for label in classes[:MOST_NAMED])


def _span(y: "pd.Series[Any]") -> str:
    return f"an amount, {y.min():.6g} to {y.max():.6g}, median {y.median():.6g}"


def _source_lines(data: Data) -> Iterator[str]:
    yield from comment(
        f"{stem(data.source)}: what the columns hold was inferred from the table; check it, and\n"
        "complete it with meanings and units, which people see beside every answer."
    )
    yield "data:"
    yield f"  source: {scalar(data.source)}"
    settings = data.model_dump(mode="json", exclude_defaults=True)
    for name in ("csv", "sheet", "query", "target_kind"):
        if name in settings:
            yield f"  {name}: {scalar(settings[name])}"


def _target_lines(
    data: Data, classes: Sequence[Label], positive: Label | None, balance: str, without: str
) -> Iterator[str]:
    yield f"  target: {scalar(data.target)}  # {balance}"
    if data.target_missing is not None:
        yield f"  target_missing: {scalar(data.target_missing)}  # {without}"
    if not classes:
        yield "  task: regression"
        yield "  # target_range: [0, null]  # least and greatest amount that there can be"
    if positive is not None:
        other = next(label for label in classes if label != positive)
        yield f"  positive: {scalar(positive)}  # its probability is asked for; or {scalar(other)}"


def _column_lines(inferred: Inferred) -> Iterator[str]:
    yield "  columns:"
    yield from block(
        {name: as_set(column) for name, column in inferred.columns.items()},
        inferred.notes,
        "    ",
    )
    if inferred.drop:
        yield "  drop:  # they stay in the file, and no model sees them"
        yield from block(inferred.drop, {}, "    ")


def _split_lines(split: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """The settings that part rows otherwise than by chance as comments: people know better."""
    yield "split:"
    yield "  test_size: 0.3"
    for setting, meaning in SPLITS.items():
        if setting in split:
            name, reason = split[setting]
            yield f"  # {setting}: {scalar(name)}  # {reason}"
        else:
            yield f"  # {setting}: {meaning}"


def _gate_lines(data: Data, primary: str) -> Iterator[str]:
    yield "gate:"
    yield f"  primary: {primary}  # the metric by which models are compared"
    yield "registry:"
    yield f"  model: {scalar(model_name(data.source) or 'model')}"


def _kinds(inferred: Inferred) -> str:
    kinds = Counter(column.kind for column in inferred.columns.values())
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    return f"{len(inferred.columns)} columns to learn from: {counted}"


def _target(data: Data, classes: Sequence[Label], positive: Label | None, balance: str) -> str:
    chosen = "" if positive is None else f"; the positive one is {scalar(positive)}"
    return f"{data.target}: {len(classes)} classes, {balance}{chosen}"


def _findings(inferred: Inferred) -> Iterator[str]:
    """What was decided, and what is to be checked."""
    for name, reason in inferred.drop.items():
        yield f"dropped {name!r}: {reason}"
    for name, column in inferred.columns.items():
        if column.marks:
            yield f"{name}: {', '.join(map(repr, column.marks))} taken for missing"
        if "check" in inferred.notes[name]:
            yield f"{name}: {inferred.notes[name]}"


def _leading_zeros(data: Data, classes: Sequence[Label]) -> Iterator[str]:
    codes = [one for one in classes if isinstance(one, str) and one[:1] == "0" and one.isdigit()]
    if any(len(code) > 1 for code in codes):
        yield f"{data.target}: {codes[0]!r} begins with a zero, so its classes stay texts"

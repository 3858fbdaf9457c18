"""What the columns of a table hold, as far as the table itself says."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, isfinite, log10
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.sections import Config, Data
from pipeline.datasets.kinds import MISSING, NUMBER
from pipeline.schema.columns import (
    TEXT_LENGTH,
    AnyColumn,
    BooleanColumn,
    CategoryColumn,
    DateColumn,
    IntegerColumn,
    NumberColumn,
    OrdinalColumn,
    TextColumn,
)
from pipeline.schema.contract import Label

Cells: TypeAlias = "pd.Series[Any]"
MARKS = frozenset(  # of a missing value, beside those that are always read as one
    {
        *("?", "-", "--", "---", ".", "..", "*", "n/a", "na", "none", "nil", "unknown", "missing"),
        *("#div/0!", "#value!", "#ref!", "#num!", "#name?"),
    }
)
SIGNS = frozenset(mark for mark in MARKS if mark.startswith("#") or not mark.isalpha())
MOST_MARKS = 3  # different ones in a column
MARGIN = 0.5  # of the range as seen, on either side
DATE_FORMATS = (  # null for ISO 8601
    *(None, "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%d %B %Y"),
    *("%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M:%S"),
)
DATE_LIKE = r"^[0-9A-Za-z]{1,9}[-/. ][0-9A-Za-z]{1,9}[-/., ]{1,2}[0-9]{2,4}"
ISO_LIKE = r"^[0-9]{4}-[0-9]{2}(-[0-9]{2})?([T ].*)?$"
INFINITE = r"^[+-]?(?i:inf|infinity)$"  # a number that no model takes
LEADING_ZERO = r"^-?0[0-9][^.]*$"
ID_NAME = re.compile(
    r"(^|[_. ])(id|ids|uuid|guid|key|index|row_?names?|row_?(nr|no|number)?)$", re.I
)
GROUPED = 0.98  # share of different values from which a column that is called an id is one
MOST_LEFT_OUT = 1.5  # numbers per row, up to which rising whole numbers number the rows
FEW = 50  # levels that any column of texts may have
DIFFERENT = 0.5  # share of different texts from which a column is no category
LONG = 40.0  # characters on average from which a text is free
WORD = re.compile(r"[^\W\d_]{3,}")
WORDS = 2.0  # on average in a free text: an id has fewer
TRUTHS = frozenset({"true", "false"})
POSITIVE = frozenset(
    {
        *("1", "yes", "y", "true", "t", "positive", "pos", "present", "ja", "oui", "sim", "si"),
        *("ill", "sick", "diseased", "case", "event", "died", "dead", "death", "fail", "failed"),
        *("failure", "bad", "default", "fraud", "spam", "churn", "churned", "left"),
    }
)


@dataclass
class Inferred:
    """The columns that are features, the others each with the reason, and notes for people."""

    columns: dict[str, AnyColumn] = field(default_factory=dict)
    drop: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def complete(config: Config, table: pd.DataFrame, y: Cells, classes: Sequence[Label]) -> Data:
    """The settings with what they leave open as the table says it: columns, and positive class.

    `y` is the target, and `classes` are those of it; amounts have none.

    A config that lists columns leaves nothing open, unless it says so (`data.unlisted`). Who rows
    belong to is no feature.
    """
    data, group = config.data, config.split.group
    if data.columns and data.unlisted == "refuse":
        return data
    if group is not None and group not in (data.target, *data.drop):
        data = data.model_copy(update={"drop": {**data.drop, group: "it is split.group"}})
    others = {data.target, *([data.weight] if data.weight else []), *data.drop}
    inferred = infer(table, {*others, *data.columns})
    columns = {**inferred.columns, **data.columns}
    names = [name for name in map(str, table.columns) if name in columns]
    positive = positive_class(y, classes) if data.positive is None else data.positive
    return data.model_copy(
        update={
            "columns": {name: columns[name] for name in (*names, *data.columns)},
            "unlisted": "infer",
            "drop": {**inferred.drop, **data.drop},
            "positive": positive if len(classes) == 2 else None,
        }
    )


def infer(table: pd.DataFrame, others: set[str]) -> Inferred:
    """The columns of a table but for some, which have another use."""
    inferred = Inferred()
    for place, name in enumerate(table.columns.fillna("").astype(str)):
        if name in others:
            continue
        cells = table.iloc[:, place]
        column, note = _column(name, cells)
        if column is None:
            inferred.drop[name] = note
        else:
            inferred.columns[name] = column
            inferred.notes[name] = note
    return inferred


def positive_class(y: Cells, classes: Sequence[Label]) -> Label | None:
    """The class that a yes stands for, else the rarer of two; of equals the last."""
    named = [label for label in classes if str(label).lower() in POSITIVE]
    if len(classes) != 2:
        return None
    if len(named) == 1:
        return named[0]
    counts = y.astype(str).value_counts()
    return min(reversed(classes), key=lambda label: counts.get(str(label), 0))


Guess: TypeAlias = "tuple[AnyColumn | None, str]"  # None for a column to drop; a note, or why


def _column(name: str, cells: Cells) -> Guess:
    if not name:
        return None, "has no name in the header, as an index that was written along"
    if pd.api.types.is_object_dtype(cells):
        cells = _with_type(cells)
    if isinstance(cells.dtype, pd.CategoricalDtype) and not cells.cat.ordered:
        cells = cells.astype(cells.cat.categories.dtype)
    if cells.isna().all():
        return None, "has no value"
    return _typed(name, cells)


def _typed(name: str, cells: Cells) -> Guess:
    """A column of a type of pandas'."""
    types = pd.api.types
    if isinstance(cells.dtype, pd.CategoricalDtype):  # ordered
        column: AnyColumn = OrdinalColumn(levels=tuple(map(str, cells.cat.categories)))
        return _unless_constant(cells, column)
    if types.is_bool_dtype(cells):
        return _unless_constant(cells, BooleanColumn())
    if types.is_datetime64_any_dtype(cells):
        return _unless_constant(cells, DateColumn(), _span(cells))
    if types.is_numeric_dtype(cells):
        return _numbers(name, cells.to_numpy(dtype=np.float64, na_value=np.nan), ())
    texts = pa.array(cells.astype("str"), pa.large_string(), from_pandas=True)
    return _texts(name, texts if isinstance(texts, pa.ChunkedArray) else pa.chunked_array([texts]))


def _with_type(cells: Cells) -> Cells:
    """Objects as the one type that they all have, or else as texts."""
    typed = cells.infer_objects()
    if not pd.api.types.is_object_dtype(typed):
        return typed
    values = cells.dropna()
    if len(values) and all(isinstance(value, (bool, np.bool_)) for value in values):
        return cells.astype("boolean")
    numbers = pd.to_numeric(cells, errors="coerce")
    if numbers.notna().equals(cells.notna()):
        return numbers
    return cells.map(str, na_action="ignore").astype("str")


def _texts(name: str, cells: pa.ChunkedArray) -> Guess:
    """Texts by the first of the kinds that all of them are."""
    cells = pc.utf8_trim_whitespace(cells)
    counted = (part.to_pylist() for part in pc.value_counts(cells).flatten())
    counts = {text: count for text, count in zip(*counted, strict=True) if text is not None}
    there = {text: count for text, count in counts.items() if text not in MISSING}
    missing = len(cells) - sum(there.values())
    if not there:
        return None, "has no value"
    for guess in GUESSES:
        guessed = guess(name, cells, there, missing)
        if guessed is not None:
            return guessed
    return _category(name, counts, len(cells))


Counts = dict[str, int]


def _truths(_: str, __: pa.ChunkedArray, counts: Counts, missing: int) -> Guess | None:
    if not all(text.lower() in TRUTHS for text in counts):
        return None
    if len(counts) == 1 and not missing:
        return None, _constant(next(iter(counts)))
    return BooleanColumn(), _gaps(missing)


def _numbers_as_texts(name: str, cells: pa.ChunkedArray, counts: Counts, _: int) -> Guess | None:
    texts = pa.array(counts, pa.large_string())
    is_finite = pc.and_not(
        pc.match_substring_regex(texts, NUMBER), pc.match_substring_regex(texts, INFINITE)
    )
    marks = texts.filter(pc.invert(is_finite)).to_pylist()
    are_marks = len(marks) <= MOST_MARKS and all(
        text.lower() in MARKS or re.match(INFINITE, text) for text in marks
    )
    if not are_marks or len(marks) == len(counts):
        return None
    if pc.any(pc.match_substring_regex(texts, LEADING_ZERO)).as_py():
        return None  # a code: 007 is not 7
    gaps = pa.array([*MISSING, *marks], pa.large_string())
    numbers = pc.cast(pc.if_else(pc.is_in(cells, value_set=gaps), None, cells), pa.float64())
    return _numbers(name, numbers.to_numpy(), marks)


def _dates(_: str, __: pa.ChunkedArray, counts: Counts, missing: int) -> Guess | None:
    marks = [text for text in counts if text.lower() in MARKS]
    values = pd.Series([text for text in counts if text not in marks], dtype="str")
    fitting = fitting_formats(values)
    if not fitting:
        return None
    parsed = _parsed(values, fitting[0])
    gaps = missing + sum(counts[mark] for mark in marks)
    if len(values) == 1 and not gaps:
        return None, _constant(values.iloc[0])
    column = DateColumn(format=fitting[0], missing=tuple(marks) or None)
    check = f"; check the format, {fitting[1]} fits too" if len(fitting) > 1 else ""
    return column, f"{_span(parsed)}{_gaps(gaps, ', ')}{check}"


def fitting_formats(values: Cells) -> list[str | None]:
    """The formats by which all texts are dates, None for ISO 8601, the likeliest first."""
    if not len(values) or not values.str.match(f"{DATE_LIKE}|{ISO_LIKE}").all():
        return []
    return [one for one in DATE_FORMATS if _parsed(values, one) is not None]


def _parsed(values: Cells, form: str | None) -> Cells | None:
    try:
        return pd.to_datetime(values, format=form or "ISO8601", utc=True).dt.tz_localize(None)
    except (ValueError, OverflowError):
        return None


GUESSES: tuple[Callable[..., Guess | None], ...] = (
    _truths,
    _numbers_as_texts,
    _dates,
)


def _category(name: str, counts: Counts, rows: int) -> Guess:
    marks = tuple(text for text in counts if text.lower() in SIGNS)
    levels = {text: count for text, count in counts.items() if text not in marks and text}
    filled = sum(levels.values())
    gaps = rows - filled
    if len(levels) == 1 and not gaps:
        return None, _constant(next(iter(levels)))
    length = sum(len(text) * count for text, count in levels.items()) / filled
    is_different = len(levels) > max(FEW, DIFFERENT * filled)
    if (is_different or (len(levels) > FEW and length > LONG)) and _are_free(name, levels):
        longest = max(map(len, levels))
        column = TextColumn(missing=marks or None, max_length=_text_length(longest))
        lengths = f"{min(map(len, levels))} to {longest} characters, {length:.0f} on average"
        return column, f"free text of {lengths}, {len(levels)} different ones{_gaps(gaps, ', ')}"
    if is_different:
        what = "each row has another value" if len(levels) == filled else "is almost an id"
        return None, f"{what}: {len(levels)} different ones in {filled} rows"
    if len(levels) == filled > 2 and ID_NAME.search(name):
        return None, f"each row has another value: {len(levels)} in {filled} rows"
    most = sorted(levels.items(), key=lambda item: -item[1])
    named = ", ".join(f"{text} {count}" for text, count in most[:8])
    more = f" and {len(most) - 8} more levels" if len(most) > 8 else ""
    return CategoryColumn(missing=marks or None), f"{named}{more}{_gaps(gaps, ', ')}"


def _are_free(name: str, texts: Counts) -> bool:
    """Whether texts are made of words, and do not only name their rows."""
    words = sum(len(WORD.findall(text)) for text in texts)
    return words >= WORDS * len(texts) and not ID_NAME.search(name)


def _text_length(longest: int) -> int:
    """The usual one, or where a text is longer that with half of it beside, in two digits."""
    if longest <= TEXT_LENGTH:
        return TEXT_LENGTH
    return int(_with_margin(0, longest, are_whole=True)[1] or longest)


def _numbers(name: str, numbers: Any, marks: Sequence[str]) -> Guess:
    values = numbers[~np.isnan(numbers)]
    missing = len(numbers) - len(values)
    if not len(values):
        return None, "has no value"
    low, high = float(values.min()), float(values.max())
    if low == high and not missing:
        return None, _constant(f"{low:.15g}")
    are_whole = bool(np.isfinite(values).all() and (values % 1 == 0).all())
    different = len(np.unique(values))
    if are_whole and not missing and different == len(values):
        if _number_the_rows(values):
            return None, f"numbers the rows: {low:.15g} to {high:.15g}"
        if ID_NAME.search(name):
            return None, f"each row has another value: {different} in {len(values)} rows"
    if ID_NAME.search(name) and are_whole and different > GROUPED * len(values):
        return None, f"looks like an id: {different} different values in {len(values)} rows"
    kind = IntegerColumn if are_whole else NumberColumn
    column = kind(range=_with_margin(low, high, are_whole), missing=tuple(marks) or None)
    return column, f"{low:.6g} to {high:.6g}{_gaps(missing, ', ')}"


def _number_the_rows(values: Any) -> bool:
    """Whether different whole numbers have no gaps; or rise, and rows were left out between."""
    span = values.max() - values.min() + 1
    has_gaps_of_rows = len(values) >= FEW and span < MOST_LEFT_OUT * len(values)
    rises = bool((np.diff(values) > 0).all())
    return len(values) > 2 and (span == len(values) or (rises and has_gaps_of_rows))


def _with_margin(low: float, high: float, are_whole: bool) -> tuple[float | None, float | None]:
    """The range as seen with half its width on either side, in two digits; zero stays a bound.

    Numbers that are 0 or 1 stay so.
    """
    if not (isfinite(low) and isfinite(high)):
        return None, None
    if are_whole and (low, high) == (0, 1):
        return low, high
    margin = (high - low) * MARGIN or abs(high) or 1.0
    step = 10.0 ** max(floor(log10(margin)), 0 if are_whole else -300)
    lower = floor((low - margin) / step) * step
    upper = ceil((high + margin) / step) * step
    return _tidy(0.0 if low >= 0 else lower), _tidy(0.0 if high <= 0 else upper)


def _tidy(bound: float) -> float:
    return float(f"{bound:.6g}")


def _unless_constant(cells: Cells, column: AnyColumn, note: str = "") -> Guess:
    missing = int(cells.isna().sum())
    if not missing and cells.nunique() == 1:
        return None, _constant(cells.iloc[0])
    return column, f"{note}{_gaps(missing, ', ' if note else '')}"


def _constant(value: Any) -> str:
    return f"has one value only, {value}"


def _span(dates: Any) -> str:
    return f"{dates.min():%Y-%m-%d} to {dates.max():%Y-%m-%d}"


def _gaps(missing: int, before: str = "") -> str:
    return f"{before}{missing} missing" if missing else ""

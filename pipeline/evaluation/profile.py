"""How the values of a table's columns, and a model's answers, are spread: what drift is seen by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.errors import ModelError
from pipeline.schema.coded import OTHER_NAME, Coded
from pipeline.schema.columns import Column, DateColumn, TextColumn
from pipeline.schema.contract import Contract
from pipeline.schema.kinds import kind_of
from pipeline.schema.matrix import Matrix, Vector
from pipeline.schema.targets import AnswerColumn

FILE = "profile.json"  # in a model's folder
FORMAT = 1
QUANTILES = np.linspace(0, 1, 11)[1:-1]  # inner edges of ten bins
DAY = len("2024-12-31")  # characters of a date that name its day
Counts = NDArray[np.int64]


class Bins(BaseModel):
    """The bins of a column: between edges, or one for each level and a last one for all others.

    `names` are the bins' for people.
    """

    model_config = ConfigDict(frozen=True)

    edges: tuple[float, ...] | None
    names: tuple[str, ...]

    def count(self, values: Vector) -> Counts:
        """How many values each bin has, and as the last how many are missing (NaN)."""
        if self.edges is None:
            present = values[~np.isnan(values)]
            others = len(self.names) - 1
            places = np.where(present < 0, others, present).astype(np.intp)
            counts = np.bincount(places, minlength=len(self.names))
        else:  # a comparison with each of few edges is faster than a search for each value
            above = [np.count_nonzero(values > edge) for edge in self.edges]
            counts = -np.diff([np.count_nonzero(~np.isnan(values)), *above, 0])
        return np.append(counts, len(values) - counts.sum()).astype(np.int64)


class Spread(NamedTuple):
    """Bins, and how many values each had, the missing ones last."""

    bins: Bins
    counts: Counts


class Profile(BaseModel):
    """The spread of each column, and of what a model answers on rows that it was not fitted to."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    bins: dict[str, Bins]
    counts: dict[str, tuple[int, ...]]
    answer_bins: dict[str, Bins]
    answer_counts: dict[str, tuple[int, ...]]

    @property
    def columns(self) -> dict[str, Spread]:
        """By the columns' names."""
        return {name: Spread(one, np.array(self.counts[name])) for name, one in self.bins.items()}

    @property
    def answers(self) -> dict[str, Spread]:
        """By the names of the answers: the label, and its probability or the value."""
        return {
            name: Spread(one, np.array(self.answer_counts[name]))
            for name, one in self.answer_bins.items()
        }


def profile_of(
    contract: Contract,
    X: Matrix,
    answer_columns: Sequence[AnswerColumn],
    answers: Mapping[str, Sequence[Any]],
) -> Profile:
    """Of the training part (rows x columns), and of answers for rows beyond it."""
    bins = {
        name: _bins(column, numbers(column, X[:, place]))
        for place, (name, column) in enumerate(contract.columns.items())
    }
    answer_bins = {
        one.name: _answer_bins(contract, one, answers[one.name]) for one in answer_columns[:2]
    }
    return Profile(
        bins=bins,
        counts={name: _listed(count) for name, count in count_columns(contract, bins, X).items()},
        answer_bins=answer_bins,
        answer_counts={
            name: _listed(count)
            for name, count in count_answers(contract, answer_bins, answers).items()
        },
    )


def read(text: str) -> Profile:
    """The profile that a model's file holds. Raises ModelError for a format of a later version."""
    profile = Profile.model_validate_json(text)
    if profile.format > FORMAT:
        raise ModelError(
            f"{FILE} of the model has the format {profile.format}, and this version of the project "
            f"reads up to {FORMAT}; go on with the version that trained it"
        )
    return profile


def count_columns(contract: Contract, bins: Mapping[str, Bins], X: Matrix) -> dict[str, Counts]:
    """How many values of each column each bin has."""
    by_column = np.ascontiguousarray(X.T)  # values that lie side by side are counted faster
    return {
        name: bins[name].count(numbers(column, values))
        for (name, column), values in zip(contract.columns.items(), by_column, strict=True)
    }


def count_answers(
    contract: Contract, bins: Mapping[str, Bins], answers: Mapping[str, Any]
) -> dict[str, Counts]:
    """How many answers each bin has; they may be lists, or arrays of NumPy or Arrow."""
    return {
        name: one.count(_as_numbers(contract, one, answers[name])) for name, one in bins.items()
    }


def add_counts(totals: dict[str, Counts], counts: Mapping[str, Counts]) -> None:
    """Adds those of a batch to the totals, by name."""
    for name, count in counts.items():
        totals[name] = totals.get(name, 0) + count


def numbers(column: Column, values: Any) -> Vector:
    """The doubles of a column; of texts their lengths in characters, NaN where one is missing."""
    if not isinstance(column, TextColumn):
        return np.asarray(values, dtype=np.float64)
    return np.asarray(pd.Series(values, dtype=object).str.len(), dtype=np.float64)


def _bins(column: Column, values: Vector) -> Bins:
    kind = kind_of(column)
    if isinstance(kind, Coded):
        return Bins(edges=None, names=(*map(str, kind.values(column)), OTHER_NAME))
    if isinstance(column, TextColumn):
        return _between(values, lambda edge: f"{edge:g}", " characters")
    if isinstance(column, DateColumn):
        return _between(values, lambda edge: kind.written(column, edge)[:DAY])
    return _between(values, partial(_rounded, digits=4))


def _answer_bins(contract: Contract, answer: AnswerColumn, values: Sequence[Any]) -> Bins:
    if answer.name == "label":
        return Bins(edges=None, names=(*map(str, contract.classes), OTHER_NAME))
    return _between(np.asarray(values, dtype=np.float64), partial(_rounded, digits=3))


def _rounded(edge: float, digits: int) -> str:
    """A number in so many digits; without an exponent up to a thousand millions."""
    is_whole = 10**digits - 0.5 <= abs(edge) < 1e9
    return f"{edge:.0f}" if is_whole else f"{edge:.{digits}g}"


def _between(values: Vector, written: Callable[[float], str], unit: str = "") -> Bins:
    """Ten bins of about as many values each; fewer where values repeat."""
    present = values[~np.isnan(values)]
    edges = np.unique(np.quantile(present, QUANTILES)).tolist() if len(present) else []
    texts = [written(edge) for edge in edges]
    if not texts:
        return Bins(edges=(), names=("any",))
    between = (f"{low} to {high}" for low, high in pairwise(texts))
    names = (f"at most {texts[0]}", *between, f"above {texts[-1]}")
    return Bins(edges=tuple(edges), names=tuple(name + unit for name in names))


def _as_numbers(contract: Contract, bins: Bins, answers: Any) -> Vector:
    """Labels as the places of their classes, numbers as they are."""
    if bins.edges is not None:
        return np.asarray(answers, dtype=np.float64)
    places = {label: place for place, label in enumerate(contract.classes)}
    codes, labels = pd.factorize(np.asarray(answers))
    return np.array([places[label] for label in labels.tolist()], dtype=np.float64)[codes]


def _listed(counts: Counts) -> tuple[int, ...]:
    return tuple(counts.tolist())

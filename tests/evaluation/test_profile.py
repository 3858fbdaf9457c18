"""The spread of columns of each kind, and of answers, as it goes along with a model."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.evaluation.profile import (
    Bins,
    Profile,
    _bins,
    _rounded,
    count_columns,
    profile_of,
    read,
)
from pipeline.schema.coded import OTHER, OTHER_NAME
from pipeline.schema.columns import TextColumn
from pipeline.schema.targets import target_of
from tests.support.mixed import KINDS, make_mixed_dataset

DATASET = make_mixed_dataset()
X = DATASET.X_train.to_numpy()
CLASSES = DATASET.contract.classes
ANSWERS = {"label": list(CLASSES) * 5, "probability": list(np.linspace(0, 0.9, 10))}


def make_profile() -> Profile:
    return profile_of(DATASET.contract, X, target_of(DATASET.contract).columns, ANSWERS)


PROFILE = make_profile()


@pytest.mark.parametrize("name", KINDS)
def test_each_value_of_the_training_part_is_in_a_bin_or_missing(name: str) -> None:
    bins, counts = PROFILE.columns[name]

    assert len(counts) == len(bins.names) + 1
    assert counts.sum() == len(X)
    assert counts[-1] == pd.isna(DATASET.X_train[name]).sum()
    if bins.edges is None:
        assert bins.names[-1] == OTHER_NAME
        present = DATASET.X_train[name].dropna()
        assert counts[-2] == (present == OTHER).sum()
    else:
        assert counts[:-1].max() < 0.35 * len(X)  # quantiles, but for values that repeat
        assert list(bins.edges) == sorted(set(bins.edges))


@pytest.mark.parametrize(
    ("edge", "text"),
    [
        (0.40382, "0.4038"),
        (126.71, "126.7"),
        (9999.6, "10000"),
        (1234567.8, "1234568"),
        (-5e9, "-5e+09"),
    ],
)
def test_edges_of_bins_are_written_without_exponent_where_people_would(
    edge: float, text: str
) -> None:
    assert _rounded(edge, digits=4) == text


def test_bins_of_texts_name_their_unit_once() -> None:
    names = _bins(TextColumn(kind="text"), np.arange(20.0)).names
    assert (names[0], names[1]) == ("at most 1.9 characters", "1.9 to 3.8 characters")


def test_profile_is_read_back_as_it_was_written() -> None:
    assert read(PROFILE.model_dump_json()) == PROFILE


def test_profile_of_a_later_format_is_refused() -> None:
    later = PROFILE.model_copy(update={"format": 2})
    with pytest.raises(ModelError, match=r"format 2.*reads up to 1"):
        read(later.model_dump_json())


def test_answers_are_counted_by_label_and_by_probability() -> None:
    answers = PROFILE.answers
    assert answers["label"].bins.names == (*map(str, CLASSES), OTHER_NAME)
    assert answers["label"].counts.tolist() == [5, 5, 0, 0]
    assert answers["probability"].counts.sum() == 10


def test_counts_of_batches_add_up_to_those_of_all_rows() -> None:
    halves = [count_columns(DATASET.contract, PROFILE.bins, X[at::2]) for at in range(2)]
    for name, (_, counts) in PROFILE.columns.items():
        assert (halves[0][name] + halves[1][name]).tolist() == counts.tolist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 2.5, np.nan, 99.0, -5.0], [2, 1, 2, 1]),
        ([], [0, 0, 0, 0]),
        ([np.inf, -np.inf], [1, 0, 1, 0]),
    ],
)
def test_values_fall_between_edges(values: Any, expected: list[int]) -> None:
    bins = Bins(edges=(1.0, 2.0), names=("low", "middle", "high"))
    assert bins.count(np.array(values, dtype=float)).tolist() == expected


def test_column_of_one_value_or_none_has_bins() -> None:
    constant = np.full_like(X, np.nan)
    constant[:, list(KINDS).index("number")] = 7.0
    columns = target_of(DATASET.contract).columns
    profile = profile_of(DATASET.contract, constant, columns, ANSWERS)
    assert profile.columns["number"].counts.tolist() == [len(X), 0, 0]
    assert profile.columns["since"].counts.tolist() == [0, len(X)]

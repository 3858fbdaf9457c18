import itertools

import numpy as np
import pyarrow as pa
import pytest

from pipeline.datasets import labels

TEXTS = [
    *(
        "0",
        "1",
        "2",
        "-1",
        "01",
        "1.0",
        "1.00",
        "0.5",
        ".5",
        "5e-1",
        "1e2",
        "100",
        "+1",
        " 1",
        "1 ",
    ),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "1e400", "१"),
    *("true", "True", "TRUE", "false", "False", "yes", "NA", "null", "nan", "inf", "-0", ""),
]


def typed(texts):
    return labels.typed(pa.chunked_array([pa.array(texts, pa.string())]))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_different_texts_never_become_one_class(size):
    for texts in itertools.combinations(TEXTS, size):
        assert len(typed(texts).unique()) == size


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "0", "-12"], pa.int64()),
        (["9223372036854775807", "0"], pa.int64()),
        (["9223372036854775808", "0"], pa.string()),
        (["1.5", "2"], pa.float64()),
        (["1.0", "0.0"], pa.float64()),
        (["1e+300", "1.5"], pa.float64()),
        (["1.50", "2"], pa.string()),
        (["true", "false"], pa.bool_()),
        (["TRUE"], pa.bool_()),
        (["true", "FALSE"], pa.string()),
        ([None, "1"], pa.int64()),
        ([None, None], pa.string()),
    ],
)
def test_texts_become_numbers_or_truths_only_where_each_is_plainly_one(texts, kind):
    assert typed(texts).type == kind


def test_numbers_are_what_their_texts_write():
    numbers = np.random.default_rng(0).normal(0, 1e3, 500)
    assert typed([repr(number) for number in numbers.tolist()]).to_pylist() == numbers.tolist()

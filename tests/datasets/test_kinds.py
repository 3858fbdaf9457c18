from math import inf, nan

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.datasets.kinds import MISSING, NUMBER, TABLE_KINDS
from pipeline.schema.columns import NumberColumn


def read(cells):
    return TABLE_KINDS["number"].read(cells, NumberColumn())


NUMBERS = {
    **{
        "1": 1,
        "01": 1,
        "1.10": 1.1,
        "-0": 0,
        "+1": 1,
        ".5": 0.5,
        "5.": 5,
        "1e3": 1e3,
        "1E-3": 1e-3,
    },
    **{" 1": 1, "1\t": 1, "9007199254740993": 2**53, "inf": inf, "-Infinity": -inf, "1e400": inf},
}


def test_numbers_and_usual_marks_of_missing_values_in_texts_become_doubles():
    texts = [*NUMBERS, *MISSING, " NA ", " ", "NAN", None]
    numbers = read(pd.Series(texts, dtype="str", name="x", index=range(5, 5 + len(texts))))

    assert numbers.dtype == np.float64
    assert (numbers.name, numbers.index[0]) == ("x", 5)
    assert numbers.tolist()[: len(NUMBERS)] == [*NUMBERS.values()]
    assert numbers[len(NUMBERS) + 5 :].isna().all()


@pytest.mark.parametrize(
    "text", ["x", "1,5", "1 2", "1_000", "0x10", "true", "None", "?", "1e", "."]
)
def test_other_texts_stay_among_the_numbers(text):
    cells = read(pd.Series(["1", text, "NA"], dtype="str"))

    assert cells.tolist()[:2] == [1, text]
    assert cells.isna().tolist() == [False, False, True]


@pytest.mark.parametrize(
    "cells",
    [pd.Series([1, 2]), pd.Series([1.5, nan]), pd.Series([True]), pd.Series([1, None, "x"])],
)
def test_cells_that_have_a_type_stay(cells):
    assert read(cells) is cells


def test_texts_that_count_as_numbers_are_those_that_arrow_reads():
    texts = pa.array(NUMBERS, pa.large_string())
    plain = pc.ascii_trim_whitespace(texts)

    assert pc.all(pc.match_substring_regex(plain, NUMBER)).as_py()
    assert pc.cast(plain, pa.float64()).to_pylist() == [*NUMBERS.values()]

import numpy as np
import pytest

from pipeline.evaluation.row_sample import MOST_HELD, RowSample


def drawn(rows, most, share_labelled=1.0, at_a_time=7):
    """A sample of rows that are numbered in their one column, and carry that number as truth."""
    sample, rng = RowSample(most), np.random.default_rng(3)
    is_labelled = rng.random(rows) < share_labelled
    for start in range(0, rows, at_a_time):
        numbers = np.arange(start, min(start + at_a_time, rows), dtype=float)
        sample.add(numbers[:, np.newaxis], numbers, is_labelled[start : start + at_a_time])
    return sample.drawn(), is_labelled


@pytest.mark.parametrize("rows", [0, 1, 50])
def test_few_rows_are_all_drawn_in_their_order(rows):
    sample, is_labelled = RowSample(50), np.arange(rows) % 2 == 0
    numbers = np.arange(rows, dtype=float)
    sample.add(numbers[:, np.newaxis], numbers, is_labelled)
    result = sample.drawn()
    assert result.X[:, 0].tolist() == result.truth.tolist() == numbers.tolist()
    assert result.is_of_all.all()
    assert result.is_of_labelled.tolist() == is_labelled.tolist()


@pytest.mark.parametrize("at_a_time", [1, 7, 1000])
def test_of_many_rows_as_many_are_drawn_as_asked_for_evenly_and_in_order(at_a_time):
    result, _ = drawn(1000, 100, at_a_time=at_a_time)
    assert result.is_of_all.sum() == result.is_of_labelled.sum() == len(result.X) == 100
    assert (np.diff(result.truth) > 0).all()
    assert result.truth.mean() == pytest.approx(500, abs=4 * 1000 / np.sqrt(12 * 100))
    assert drawn(1000, 100, at_a_time=7)[0].truth.tolist() == result.truth.tolist()


def test_rows_with_labels_are_drawn_though_they_are_rare():
    result, is_labelled = drawn(5000, 100, share_labelled=0.01)
    assert 0 < is_labelled.sum() < 100
    assert result.truth[result.is_of_labelled].tolist() == np.flatnonzero(is_labelled).tolist()
    assert result.is_of_all.sum() == 100


def test_each_row_is_as_likely_as_any_other():
    counts = np.zeros(40)
    for first in range(300):
        sample = RowSample(10)
        sample.add(np.zeros((first, 1)), np.full(first, -1.0), np.zeros(first, dtype=bool))
        numbers = np.arange(40.0)
        sample.add(numbers[:, np.newaxis], numbers, np.ones(40, dtype=bool))
        counts[sample.drawn().truth[sample.drawn().is_of_labelled].astype(int)] += 1
    assert counts.sum() == 3000
    assert counts.min() > 75 - 5 * np.sqrt(75)
    assert counts.max() < 75 + 5 * np.sqrt(75)


def test_memory_is_bounded():
    sample = RowSample(10)
    for _ in range(1000):
        sample.add(np.zeros((5, 1)), np.zeros(5), np.ones(5, dtype=bool))
        assert sum(len(keys) for keys, *_ in sample._parts) <= MOST_HELD * 10

import numpy as np
import pandas as pd
import pytest

from pipeline.datasets.sampling import final_part, sample, search_part
from pipeline.results import Metadata
from tests.support.builders import make_config, make_dataset

RARE = pd.Series(np.r_[np.zeros(990, dtype=int), np.ones(10, dtype=int)])
GROUPS = pd.Series(np.arange(1000) // 4, name="patient")


def test_sample_has_the_shares_of_the_classes_in_the_order_of_the_rows():
    y = pd.Series(np.arange(1000) % 10 < 3)
    places = sample(y, 200, seed=0)
    assert len(places) == 200
    assert y.iloc[places].sum() == 60
    assert (np.diff(places) > 0).all()


@pytest.mark.parametrize("rows", [None, 1000, 2000])
def test_sample_of_as_many_rows_as_there_are_is_all(rows):
    assert sample(RARE, rows, seed=0).tolist() == list(range(1000))


def test_sample_is_the_same_for_the_same_seed_and_another_for_another():
    first, again, other = (sample(RARE, 100, seed).tolist() for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_sample_has_the_least_rows_of_a_rare_class(groups):
    places = sample(RARE, 100, 0, Metadata(groups=groups), least=6)
    assert RARE.iloc[places].sum() >= 6
    assert 96 <= len(places) <= 120


def test_sample_takes_whole_groups():
    places = sample(RARE, 100, 0, Metadata(groups=GROUPS))
    assert GROUPS.iloc[places].value_counts().unique().tolist() == [4]


def test_sample_with_times_is_of_all_of_the_time():
    places = sample(RARE, 100, 0, Metadata(times=pd.Series(np.arange(1000.0))))
    assert np.histogram(places, 4, (0, 1000))[0].min() >= 15


@pytest.mark.parametrize(
    ("part", "section"),
    [(search_part, "tune"), (final_part, "train")],
    ids=["tune", "train"],
)
def test_training_part_is_bounded_by_its_setting(part, section):
    dataset = make_dataset(rows=400)
    config = make_config(**{section: {"max_rows": 100}})
    bounded = part(config, dataset)
    assert len(bounded.y_train) == len(bounded.X_train) == 100
    assert bounded.X_train.index.equals(bounded.y_train.index)
    assert bounded.X_test is dataset.X_test
    assert part(make_config(), dataset) is dataset

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation import bootstrap, metrics
from pipeline.evaluation.amounts import resampled_metrics
from pipeline.evaluation.paired_bootstrap import differences
from pipeline.results import Metadata
from pipeline.tasks import REGRESSION
from tests.support.builders import make_amounts


@pytest.mark.parametrize("rows", [40, 41])
def test_bootstrap_equals_value_on_the_rows_repeated_by_their_weights(rows):
    sample = make_amounts(rows)
    weights = np.random.default_rng(1).multinomial(rows, np.full(rows, 1 / rows), size=5)

    resampled = resampled_metrics(sample, weights.astype(float))

    assert sorted(resampled) == sorted(REGRESSION.metrics)
    for place, counts in enumerate(weights):
        repeated = sample.where(np.repeat(np.arange(rows), counts))
        for name, values in resampled.items():
            assert values[place] == pytest.approx(metrics.value(name, repeated))


def test_rows_count_by_their_weights():
    sample = make_amounts(30)
    counts = np.arange(30) % 3
    weights = pd.Series(counts.astype(float), name="count")

    weighted = replace(sample, metadata=Metadata(weights=weights))

    repeated = sample.where(np.repeat(np.arange(30), counts))
    for name in REGRESSION.metrics:
        assert metrics.value(name, weighted) == pytest.approx(metrics.value(name, repeated))
        assert bootstrap.values(weighted)[name] == pytest.approx(metrics.value(name, repeated))


def test_metric_that_is_not_defined_is_nan():
    sample = make_amounts(20)
    none = np.full(20, np.nan)
    without = replace(sample, low=none, high=none)
    same = replace(sample, truth=np.full(20, 3.0))

    assert np.isnan(metrics.value("coverage", without))
    assert np.isnan(bootstrap.values(without)["pinball"])
    assert np.isnan(metrics.value("r2", same))
    assert np.isnan(bootstrap.values(same)["r2"])
    assert metrics.value("rmse", without) == metrics.value("rmse", sample)


def test_less_error_is_a_gain_that_pairs_prove():
    better, worse = make_amounts(80, error=1.0), make_amounts(80, error=3.0)

    pair = differences(better, worse, 500, 0, 0.9)["rmse"]

    assert pair.gain == pytest.approx(pair.second - pair.first)
    assert 0 < pair.least_gain < pair.gain

import numpy as np
import pandas as pd
import pytest

from pipeline.datasets import splits
from pipeline.evaluation import fitting
from pipeline.evaluation.fitting import fit
from pipeline.models import families
from pipeline.models.ensemble import assemble
from pipeline.models.threshold import with_threshold
from pipeline.results import Metadata
from pipeline.tasks import BINARY
from tests.support.builders import make_dataset

DATASET = make_dataset(rows=120)
X, Y = DATASET.X_train, DATASET.y_train
GROUPS = pd.Series(np.arange(len(X)) // 4, X.index, name="patient")


def blend() -> object:
    members = {name: families.build(name, {}, 0) for name in ("svc", "logistic_regression")}
    model = assemble(BINARY, members, dict.fromkeys(members, 0.5))
    return with_threshold(model, 0.4, DATASET.contract)


@pytest.mark.parametrize("make", [lambda: families.build("svc", {}, 0), blend])
def test_calibration_keeps_groups_together_and_the_model_no_places_of_rows(make, monkeypatch):
    folds: list[object] = []

    def group_folds(*arguments: object, **options: object) -> object:
        folds.extend(splits.group_folds(*arguments, **options))
        return folds

    monkeypatch.setattr(fitting, "group_folds", group_folds)
    grouped, alone = fit(make(), X, Y, Metadata(groups=GROUPS)), fit(make(), X, Y)

    assert len(folds) == 3
    assert all(not set(GROUPS.iloc[a]) & set(GROUPS.iloc[b]) for a, b in folds)
    assert not np.allclose(grouped.predict_proba(X), alone.predict_proba(X))
    fitted = grouped.estimator_.estimators_[0] if make is blend else grouped
    assert fitted.get_params()["calibratedclassifiercv__cv"] == 3
    assert [v for n, v in grouped.get_params().items() if n.endswith("__cv")] == [3]

"""What takes codes of categories answers as scikit-learn does, whatever the code."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from pipeline.export.compilation import compile_model
from pipeline.export.onnx_graph import translate
from pipeline.export.random_rows import random_rows
from pipeline.inference.runtimes import of_estimator, of_graph
from pipeline.models.encoders import Features
from pipeline.models.families import build
from pipeline.results import Training
from pipeline.tasks import BINARY
from tests.support.mixed import make_mixed_dataset


@pytest.fixture(autouse=True)
def one_thread():
    """Threads only cost in small fits."""
    with threadpool_limits(1):
        yield


@pytest.mark.filterwarnings(f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning")
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("family", BINARY.every_family)
def test_family_on_columns_of_each_kind_is_translated(family, classes):
    dataset = make_mixed_dataset(classes)
    contract = dataset.contract
    model = build(family, {}, 0, Features.of(contract)).fit(dataset.X_train, dataset.y_train)

    predict = of_graph(translate(model, len(contract.columns)).SerializeToString())

    rows = random_rows(contract, dataset.X_train.to_numpy())
    np.testing.assert_allclose(predict(rows), of_estimator(model, contract)(rows), atol=1e-9)


@pytest.mark.parametrize("missing", [True, False])
@pytest.mark.parametrize("levels", [2, 5, 40, 200])
def test_splits_by_sets_of_levels_are_translated(levels, missing):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, levels, 2000), rng.normal(size=2000)]).astype(float)
    y = (X[:, 0] % 2 == 0) ^ (rng.random(2000) < 0.2)
    X[rng.random(2000) < 0.1 * missing, 0] = np.nan
    model = HistGradientBoostingClassifier(max_iter=20, categorical_features=[0]).fit(X, y)
    assert any(tree.nodes["is_categorical"].any() for trees in model._predictors for tree in trees)
    codes = np.array([-1.0, *range(levels + 3), np.nan])  # past those that were met, too
    rows = np.column_stack([np.tile(codes, 3), rng.normal(size=len(codes) * 3)])

    predict = of_graph(translate(model, 2).SerializeToString())

    np.testing.assert_allclose(predict(rows), model.predict_proba(rows), atol=1e-12)


def test_blend_of_columns_of_each_kind_is_one_proven_graph():
    dataset = make_mixed_dataset()
    features = Features.of(dataset.contract)
    families = ("logistic_regression", "hist_gradient_boosting", "extra_trees")
    blend = VotingClassifier(
        [(name, build(name, {}, 0, features)) for name in families], voting="soft"
    )

    compiled = compile_model(
        dataset, Training(blend.fit(dataset.X_train, dataset.y_train), {}, 0.5, {}, {})
    )

    assert compiled.graph is not None
    assert compiled.reason.startswith("equal on")

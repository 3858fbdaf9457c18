"""Graphs of trees against treelite, which reads scikit-learn's models by other means."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline

from pipeline.export.onnx_graph import translate
from pipeline.inference.runtimes import of_graph
from pipeline.models import families
from pipeline.models.encoders import Features

treelite = pytest.importorskip("treelite", reason="of .ci/requirements.txt")

pytestmark = pytest.mark.extra
LEVELS = 30
FEW = {"max_iter": 20}
CLOSE = 1e-6  # treelite has the softmax of three classes in single precision
WITH_LEVELS = Features(("a", "b"), (), (), {"level": LEVELS})
MODELS = {
    "hist_gradient_boosting": lambda: families.build("hist_gradient_boosting", FEW, 0),
    "with native categories": lambda: families.build("hist_gradient_boosting", FEW, 0, WITH_LEVELS),
    "extra_trees": lambda: families.build("extra_trees", {}, 0),
    "forest that takes gaps": lambda: make_pipeline(RandomForestClassifier(20, random_state=0)),
}


def some_rows(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(rng.normal(size=(count, 2), scale=2.0), columns=["a", "b"])
    rows["level"] = rng.integers(0, LEVELS, count).astype(float)
    return rows.mask(rng.random(rows.shape) < 0.2)


# treelite casts the gap among the categories that scikit-learn learnt.
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_graph_of_trees_answers_as_treelite_on_random_rows_with_gaps(build, classes):
    # No new levels: to scikit-learn they are missing ones, to treelite they are in no set.
    X, rows = some_rows(400, 0), some_rows(1000, 1)
    signal = X["a"].gt(0).astype(int) + (X["level"] % 5).gt(2)
    y = (signal + (np.random.default_rng(2).random(len(X)) < 0.1)) % classes
    model = build().fit(X, y)
    behind = np.asarray(model[:-1].transform(rows) if len(model) > 1 else rows)

    graph = of_graph(translate(model, X.shape[1]).SerializeToString())(rows.to_numpy())

    oracle = treelite.gtil.predict(treelite.sklearn.import_model(model[-1]), behind)[:, 0]
    np.testing.assert_allclose(graph[:, -oracle.shape[1] :], oracle, rtol=0, atol=CLOSE)
    assert np.ptp(graph, axis=0).min() > 0.1

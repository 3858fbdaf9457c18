import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from pipeline.inference.runtimes import behind_cells, of_estimator
from pipeline.models.cells import with_cells
from pipeline.models.encoders import MOST_ONE_HOT, Features, date_parts, impute
from pipeline.models.families import build
from pipeline.schema.coded import OTHER
from pipeline.schema.rules import Rules, to_matrix
from pipeline.tasks import BINARY
from tests.support.builders import make_dataset
from tests.support.mixed import make_mixed_dataset


@pytest.fixture(autouse=True)
def one_thread():
    """Threads only cost in small fits."""
    with threadpool_limits(1):
        yield


FEATURES = Features.of(make_mixed_dataset(with_texts=True).contract)


def test_impute_takes_the_median_and_keeps_a_column_without_a_value():
    X = np.array([[1.0, np.nan], [2.0, np.nan], [9.0, np.nan], [np.nan, np.nan]])
    imputed = impute().fit_transform(X)
    np.testing.assert_array_equal(imputed, [[1, 0], [2, 0], [9, 0], [2, 0]])


def test_columns_are_parted_by_what_models_see_in_them():
    assert FEATURES.numbers == ("number", "size", "is_new", "visits")
    assert FEATURES.dates == ("since",)
    assert FEATURES.texts == ("note",)
    assert list(FEATURES.categories) == ["city", "shop"]
    assert FEATURES.with_more_than(MOST_ONE_HOT) == ["shop"]
    assert Features.of(make_dataset().contract).are_numbers


def test_pipeline_of_numbers_alone_has_no_encoder_of_columns():
    assert [name for name, _ in build("svc", {}, 0).steps] == [
        *("simpleimputer", "standardscaler", "calibratedclassifiercv"),
    ]


def test_mondays_are_one_point_of_the_week_in_any_year():
    mondays = np.array([4.0, 4 + 7 * 52 * 30, 4 + 7 * 52 * 54])[:, None]
    elapsed, sine, cosine, *_ = date_parts().fit_transform(pd.DataFrame(mondays)).T
    assert elapsed.tolist() == mondays[:, 0].tolist()
    assert len(set(zip(sine.tolist(), cosine.tolist(), strict=True))) == 1


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("family", BINARY.every_family)
def test_family_learns_from_columns_of_each_kind_and_takes_cells_that_it_never_met(family, classes):
    dataset = make_mixed_dataset(classes, with_texts=True)
    unseen = dataset.X_test.head(5).copy()
    unseen[["city", "shop"]] = OTHER
    unseen["note"] = ["!", "日本", None, "x" * 1000, "a"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = build(family, {}, 0, FEATURES).fit(dataset.X_train, dataset.y_train)
        probabilities = model.predict_proba(dataset.X_test)
        of_unseen = model.predict_proba(unseen)
    assert (model.classes_[probabilities.argmax(axis=1)] == dataset.y_test).mean() > 0.55
    np.testing.assert_allclose(of_unseen.sum(axis=1), 1)


def test_text_alone_tells_the_classes_apart_and_an_empty_training_part_does_not_fail():
    dataset = make_mixed_dataset(with_texts=True)
    texts = Features((), (), ("note",), {})
    model = build("logistic_regression", {}, 0, texts).fit(dataset.X_train, dataset.y_train)
    said = pd.DataFrame({"note": ["it never arived", "it works well", None]}, dtype="str")

    ill, well, missing = model.predict_proba(said)[:, 1]

    assert ill > missing > well
    empty = dataset.X_train.assign(note=pd.Series([np.nan], dtype="str"))
    with np.errstate(invalid="ignore"):  # no share of no variance
        of_none = build("logistic_regression", {}, 0, texts).fit(empty, dataset.y_train)
    assert np.ptp(of_none.predict_proba(said)[:, 1]) == 0


def test_pickled_pipeline_takes_a_frame_and_answers_as_the_model_of_its_codes():
    dataset = make_mixed_dataset(with_texts=True)
    model = build("logistic_regression", {}, 0, FEATURES).fit(dataset.X_train, dataset.y_train)
    cells = dataset.cells_of(dataset.X_test)

    content = pickle.dumps(with_cells(model, dataset.contract, dataset.cells_of(dataset.X_train)))
    whole = pickle.loads(content)

    expected = model.predict_proba(dataset.X_test)
    np.testing.assert_allclose(whole.predict_proba(cells), expected)
    codes = to_matrix(Rules(dataset.contract.columns), cells)
    np.testing.assert_allclose(of_estimator(whole, dataset.contract)(codes), expected)
    assert type(behind_cells(whole)) is type(model)
    assert b"pipeline." not in content.replace(b"sklearn.pipeline", b"")  # stock estimators only

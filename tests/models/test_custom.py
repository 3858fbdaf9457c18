import sys
from collections.abc import Iterator

import pytest
from sklearn.impute import SimpleImputer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import PowerTransformer, StandardScaler

from pipeline.config.tune import Estimator
from pipeline.errors import ConfigError
from pipeline.models import custom

KNN = "sklearn.neighbors.KNeighborsClassifier"
TREES = "sklearn.ensemble.ExtraTreesClassifier"
BAYES = "sklearn.naive_bayes.GaussianNB"
SGD = "sklearn.linear_model.SGDClassifier"
RANGE = {"uniformint": [1, 9]}
USERS = """
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class Shares(ClassifierMixin, BaseEstimator):
    def __init__(self, weight=1.0, *, kind=None, random_state=None, n_jobs=None):
        self.weight = weight
        self.kind = kind
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X, y):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.shares_ = counts / counts.sum()
        return self

    def predict_proba(self, X):
        return np.tile(self.shares_, (len(X), 1))


class Passing(Shares):
    "As XGBoost's: the parent lists what the child passes on."

    def __init__(self, depth=3, **others):
        super().__init__(**others)
        self.depth = depth


class Open(Shares):
    "As LightGBM's: what it does not list it takes all the same."

    def __init__(self, depth=3, n_jobs=None, **others):
        self.depth = depth
        self.n_jobs = n_jobs
        self.others = others


class Few(Shares):
    def __init__(self, depth=3):
        super().__init__()
        self.depth = depth


class Needing(BaseEstimator):
    def __init__(self, depth, width=2):
        if depth > 10:
            raise ValueError("too deep")
        self.depth = depth
        self.width = width

    fit = Shares.fit
    predict_proba = Shares.predict_proba


instance = Shares()


def function():
    pass
"""


@pytest.fixture
def users(tmp_path, monkeypatch) -> Iterator[str]:
    """The name of a module of the user."""
    name = "users_classifiers"
    (tmp_path / f"{name}.py").write_text(USERS)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def last(path: str, tried=None, seed: int = 7, **settings):
    """The classifier at the end of a pipeline that was built."""
    return custom.build(Estimator(estimator=path, **settings), tried or {}, seed)[-1]


def faults_of(path: str, **settings) -> list[str]:
    return custom.faults(Estimator(estimator=path, **settings))


# Building.


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, [SimpleImputer, StandardScaler]),
        ({"preprocessing": ()}, []),
        ({"preprocessing": ("power", "scale")}, [PowerTransformer, StandardScaler]),
        ({"preprocessing": ("scale", "impute")}, [StandardScaler, SimpleImputer]),
    ],
    ids=str,
)
def test_build_makes_an_unfitted_pipeline_of_the_preprocessing_in_its_order(settings, steps):
    model = custom.build(Estimator(estimator=KNN, **settings), {}, 0)
    assert type(model) is Pipeline
    assert [type(step) for _, step in model.steps] == [*steps, KNeighborsClassifier]
    assert not model.__sklearn_is_fitted__()


def test_build_gives_the_class_its_params_and_those_of_the_trial():
    model = last(KNN, {"n_neighbors": 9}, params={"p": 1, "weights": "distance"})
    assert (model.n_neighbors, model.p, model.weights) == (9, 1, "distance")


@pytest.mark.parametrize(
    ("path", "given"),
    [
        (TREES, {"random_state": 7, "n_jobs": 1}),
        (KNN, {"n_jobs": 1}),
        ("sklearn.tree.DecisionTreeClassifier", {"random_state": 7}),
        (BAYES, {}),
    ],
)
def test_seed_and_one_job_are_given_where_the_class_has_them(path, given):
    result = last(path).get_params()
    usual = {name: result[name] for name in ("random_state", "n_jobs") if name in result}
    assert usual == given


@pytest.mark.parametrize("name", ["random_state", "n_jobs"])
@pytest.mark.parametrize("value", [None, 2])
def test_seed_and_jobs_are_those_of_the_config_where_it_names_them(name, value):
    assert getattr(last(TREES, params={name: value}), name) == value
    assert getattr(last(TREES, {name: value}), name) == value


def test_class_of_a_module_of_the_user_gets_what_it_or_its_parent_lists_or_any_name(users):
    model = last(f"{users}.Shares", {"weight": 2.5}, seed=3)
    assert (model.weight, model.random_state, model.n_jobs) == (2.5, 3, 1)
    model = last(f"{users}.Passing", {"kind": "a", "depth": 5})
    assert (model.depth, model.kind, model.random_state, model.n_jobs) == (5, "a", 7, 1)
    model = last(f"{users}.Open", params={"device": "gpu", "depth": 4})
    assert (model.depth, model.n_jobs, model.others["device"]) == (4, 1, "gpu")


# Loading.


NO_CLASS = "is no class with a `fit` method, as scikit-learn has them"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (
            "sklearn.neighbor.KNeighborsClassifier",
            "'sklearn.neighbor.KNeighborsClassifier' cannot be imported: No module named "
            "'sklearn.neighbor'; install its package beside requirements.txt, or mend the path",
        ),
        (
            "sklearn.neighbors.KNeighborClassifier",
            "sklearn.neighbors has no 'KNeighborClassifier', did you mean 'KNeighborsClassifier'?",
        ),
        ("pathlib.Path", f"'pathlib.Path' {NO_CLASS}"),
        ("users_classifiers.function", f"'users_classifiers.function' {NO_CLASS}"),
        ("users_classifiers.instance", f"'users_classifiers.instance' {NO_CLASS}"),
    ],
)
@pytest.mark.usefixtures("users")
def test_load_refuses_a_path_without_a_class(path, sentence):
    with pytest.raises(ConfigError) as error:
        custom.load(path)
    assert str(error.value) == sentence


# Arguments.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Shares", ("weight", "kind", "random_state", "n_jobs")),
        ("Passing", ("depth", "weight", "kind", "random_state", "n_jobs")),
        ("Few", ("depth",)),
    ],
)
def test_arguments_are_the_parents_too_where_kwargs_go_there(users, name, expected):
    assert custom.arguments(custom.load(f"{users}.{name}")) == expected


# The default.


def default_of(path: str, **settings):
    return custom.default(Estimator(estimator=path, **settings))


@pytest.mark.parametrize(
    ("space", "given", "expected"),
    [
        ({"n_neighbors": {"uniformint": [2, 20]}}, {}, 5),
        ({"n_neighbors": {"uniformint": [2, 20]}}, {"n_neighbors": 9}, 9),
        ({"n_neighbors": {"uniformint": [7, 20]}}, {}, 7),
        ({"n_neighbors": {"choice": [1, 5]}}, {}, 5),
        ({"n_neighbors": {"choice": [1, 3]}}, {}, 1),
        ({"n_jobs": {"choice": [1, None]}}, {}, None),
        ({"metric_params": {"choice": [{}, None]}}, {"metric_params": {}}, {}),
    ],
    ids=str,
)
def test_default_is_as_set_or_that_of_the_class_moved_into_the_range(space, given, expected):
    result = default_of(KNN, space=space, default=given)
    assert result == {next(iter(space)): expected}
    assert type(next(iter(result.values()))) is type(expected)


def test_default_is_the_middle_where_a_class_needs_the_argument(users):
    space = {"depth": RANGE, "width": RANGE}
    assert default_of(f"{users}.Needing", space=space) == {"depth": 5, "width": 5}
    assert default_of(f"{users}.Needing", space={"depth": RANGE, "width": 3}) == {"depth": 5}


# Faults.


@pytest.mark.parametrize(
    "settings",
    [
        {"estimator": KNN},
        {"estimator": BAYES, "params": {"var_smoothing": 1e-3}},
        {
            "estimator": TREES,
            "params": {"n_estimators": 10, "random_state": 3, "n_jobs": 2},
            "space": {"max_depth": {"choice": [None, 3]}, "criterion": "entropy"},
            "default": {"max_depth": 3},
        },
        {"estimator": SGD, "params": {"loss": "log_loss"}},
        {"estimator": SGD, "space": {"loss": "modified_huber"}},
    ],
    ids=str,
)
def test_estimator_without_a_fault_has_none(settings):
    assert custom.faults(Estimator(**settings)) == []


NO_PROBABILITIES = (
    "has no predict_proba with these params; take one that has, or wrap it in "
    "sklearn.calibration.CalibratedClassifierCV in a module of yours"
)


@pytest.mark.parametrize(
    ("path", "settings", "name"),
    [
        ("sklearn.svm.LinearSVC", {}, "LinearSVC"),
        ("sklearn.preprocessing.StandardScaler", {}, "StandardScaler"),
        (SGD, {}, "SGDClassifier"),
        (SGD, {"space": {"loss": {"choice": ["perceptron", "log_loss"]}}}, "SGDClassifier"),
    ],
    ids=str,
)
def test_estimator_without_probabilities_is_a_fault(path, settings, name):
    assert faults_of(path, **settings) == [f"estimator {name} {NO_PROBABILITIES}"]


def test_path_without_a_class_is_the_only_fault():
    result = faults_of("sklearn.neighbors.KNN", params={"zzz": 1})
    assert len(result) == 1
    assert result[0].startswith("estimator sklearn.neighbors has no 'KNN'")


@pytest.mark.parametrize(
    ("settings", "sentences"),
    [
        (
            {"params": {"weight": 1}, "space": {"leafsize": RANGE}, "default": {"metrics": 1}},
            [
                "space.leafsize is no parameter of KNeighborsClassifier, did you mean 'leaf_size'?",
                "default.metrics is no parameter of KNeighborsClassifier, did you mean 'metric'?",
                "params.weight is no parameter of KNeighborsClassifier, did you mean 'weights'?",
            ],
        ),
        (
            {"params": {"p": 1}, "space": {"p": {"uniform": [1, 2]}}},
            ["space.p is in params too; leave it out of one"],
        ),
        (
            {"space": {"weights": {"choice": ["uniform", None]}}, "default": {"weights": "none"}},
            [
                "default.weights is 'none', which lies outside of space.weights "
                "{'choice': ['uniform', None]}"
            ],
        ),
        (
            {"space": {"n_neighbors": 3}, "default": {"n_neighbors": 3}},
            ["default.n_neighbors has no range in space; put it in params"],
        ),
        (
            {
                "params": {"p": 1},
                "space": {"p": 2, "n_neighbors": RANGE},
                "default": {"n_neighbors": None, "p": 1},
            },
            [
                "space.p is in params too; leave it out of one",
                "default.n_neighbors is None, which lies outside of space.n_neighbors "
                "{'uniformint': [1, 9]}",
                "default.p has no range in space; put it in params",
            ],
        ),
    ],
    ids=lambda part: str(part)[:60],
)
def test_fault_of_a_parameter_is_named_with_section_and_remedy(settings, sentences):
    assert faults_of(KNN, **settings) == sentences


@pytest.mark.parametrize("name", ["zzz", "self"])
@pytest.mark.parametrize("section", ["params", "space", "default"])
def test_name_that_is_near_to_none_is_answered_with_all(section, name):
    (result,) = faults_of(BAYES, **{section: {name: 1}})
    expected = f"{section}.{name} is no parameter of GaussianNB; it has priors, var_smoothing"
    assert result == expected


@pytest.mark.parametrize("section", ["space", "default"])
def test_searched_name_must_be_listed_even_where_the_class_takes_any(users, section):
    assert faults_of(f"{users}.Open", params={"device": "gpu", "n_jobs": 2}) == []
    (result,) = faults_of(f"{users}.Open", **{section: {"dept": 3}})
    assert result == f"{section}.dept is no parameter of Open, did you mean 'depth'?"


def test_parameter_of_a_parent_may_be_searched(users):
    space = {"weight": {"uniform": [0, 1]}, "depth": RANGE}
    assert faults_of(f"{users}.Passing", space=space, params={"kind": "a"}) == []


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "TypeError: Needing.__init__() missing 1 required positional argument: 'depth'"),
        ({"params": {"depth": 11}}, "ValueError: too deep"),
        ({"space": {"depth": {"uniformint": [11, 12]}}}, "ValueError: too deep"),
        (
            {"space": {"depth": {"uniformint": [1, 20]}}, "default": {"depth": 15}},
            "ValueError: too deep",
        ),
    ],
    ids=str,
)
def test_constructor_that_refuses_where_the_search_starts_is_a_fault(users, settings, reason):
    result = faults_of(f"{users}.Needing", **settings)
    assert result == [f"estimator Needing cannot be made: {reason}"]


@pytest.mark.parametrize("settings", [{"params": {"depth": 3}}, {"space": {"depth": RANGE}}])
def test_argument_that_a_class_needs_may_come_from_params_or_space(users, settings):
    assert faults_of(f"{users}.Needing", **settings) == []


def test_parents_arguments_are_not_given_where_the_class_does_not_hand_them_on(users):
    assert faults_of(f"{users}.Few") == []
    assert last(f"{users}.Few", {"depth": 5}).depth == 5


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("broken_syntax", "class Few(:\n", "cannot be imported: SyntaxError: "),
        ("broken_import", "raise RuntimeError('no way')\n", "RuntimeError: no way; mend the"),
        ("broken_lookup", "import os\nos.nothing\n", "cannot be imported: AttributeError: "),
        ("bare", "class Few:\n    def fit(self, X, y): ...\n", "must derive from sklearn.base"),
    ],
)
def test_module_of_the_user_that_cannot_be_used_is_a_fault(
    tmp_path, monkeypatch, name, text, reason
):
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    (fault,) = custom.faults(Estimator(estimator=f"{name}.Few"))
    assert reason in fault


def test_classifier_that_takes_no_weights_is_a_fault_where_rows_have_them():
    knn, bayes = (
        Estimator(estimator=f"sklearn.{name}")
        for name in ("neighbors.KNeighborsClassifier", "naive_bayes.GaussianNB")
    )
    (fault,) = custom.faults(knn, "count")
    assert "KNeighborsClassifier takes no sample_weight in its fit, and data.weight is" in fault
    assert custom.faults(knn) == custom.faults(bayes, "count") == []

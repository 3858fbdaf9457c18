"""Translates a fitted estimator into an ONNX graph in double precision.

Stock scikit-learn estimators only. skl2onnx translates more of them, but in single precision, in
which values beside a split fall on its other side, and neither spline nor histogram gradient
boosting. Whether a graph equals its estimator is for `compilation` to say.
"""

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PowerTransformer,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, SVR

from pipeline.export import onnx_codes, onnx_trees
from pipeline.export.onnx_builder import INPUT, Graph, TranslationError
from pipeline.inference.runtimes import DIFFICULTY

TINY = np.spacing(1.0)  # a Yeo-Johnson exponent this near to 0 is taken for 0


def translate(estimator: Any, columns: int) -> ModelProto:
    """A model from `X` (rows x columns, NaN where a value is missing) to `runtimes.outputs`.

    Raises TranslationError.
    """
    graph = Graph()
    probabilities = _output(graph, estimator, INPUT)
    difficulty = getattr(estimator, DIFFICULTY, None)
    if difficulty is not None:
        both = graph("Concat", probabilities, _output(graph, difficulty, INPUT), axis=1)
        return graph.model(both, columns, 2)
    classes = len(estimator.classes_)
    if classes == 2:
        first = graph("Sub", graph.constant(1.0), probabilities)
        probabilities = graph("Concat", first, probabilities, axis=1)
    return graph.model(probabilities, columns, classes)


def _output(graph: Graph, estimator: Any, X: str) -> str:
    """Amounts, or probabilities: with two classes the second one's only (rows x 1)."""
    return _look_up(ESTIMATORS, estimator)(graph, estimator, X)


def _look_up(table: dict[type, Callable[..., str]], estimator: Any) -> Callable[..., str]:
    try:
        return table[type(estimator)]
    except KeyError:
        raise TranslationError(f"{type(estimator).__name__} has no translation") from None


# What holds other estimators.


def _pipeline(graph: Graph, pipeline: Pipeline, X: str) -> str:
    *steps, last = [step for _, step in pipeline.steps]
    if steps and type(steps[-1]) is StandardScaler and type(last) is LogisticRegression:
        steps, last = steps[:-1], unscaled(steps[-1], last)
    return _output(graph, last, _steps(graph, steps, X))


def _steps(graph: Graph, steps: Sequence[Any], X: str) -> str:
    for step in steps:
        X = _look_up(TRANSFORMERS, step)(graph, step, X)
    return X


def unscaled(scaler: StandardScaler, model: LogisticRegression) -> LogisticRegression:
    """The same model for columns that were not scaled: what is linear twice is linear."""
    collapsed = copy(model)
    collapsed.coef_ = model.coef_ / scaler.scale_
    collapsed.intercept_ = model.intercept_ - collapsed.coef_ @ scaler.mean_
    return collapsed


def _voting(graph: Graph, voting: VotingClassifier, X: str) -> str:
    if voting.voting != "soft":
        raise TranslationError("votes without probabilities")
    members = [_output(graph, member, X) for member in voting.estimators_]
    weights = np.ones(len(members)) if voting.weights is None else np.asarray(voting.weights, float)
    shares = weights / weights.sum()
    if len(voting.classes_) == 2:
        return graph("MatMul", graph("Concat", *members, axis=1), graph.constant(shares[:, None]))
    parts = [
        graph("Mul", member, graph.constant(share))
        for member, share in zip(members, shares, strict=True)
    ]
    return graph("Sum", *parts)


def _fixed_threshold(graph: Graph, fixed: FixedThresholdClassifier, X: str) -> str:
    return _output(graph, fixed.estimator_, X)


def _weighted_mean(graph: Graph, voting: VotingRegressor, X: str) -> str:
    members = [_output(graph, member, X) for member in voting.estimators_]
    weights = np.asarray(voting.weights, float)
    shares = graph.constant((weights / weights.sum())[:, None])
    return graph("MatMul", graph("Concat", *members, axis=1), shares)


def _transformed_target(graph: Graph, model: TransformedTargetRegressor, X: str) -> str:
    """The regressor's amounts on the target's own scale."""
    transformer = model.transformer_
    steps = [step for _, step in getattr(transformer, "steps", [("", transformer)])]
    amounts = _output(graph, model.regressor_, X)
    for step in reversed(steps):
        amounts = _look_up(INVERSES, step)(graph, step, amounts)
    return amounts


def _inverse_standardize(graph: Graph, scaler: StandardScaler, X: str) -> str:
    scaled = graph("Mul", X, graph.constant(scaler.scale_))
    return graph("Add", scaled, graph.constant(scaler.mean_))


def _inverse_function(graph: Graph, transformer: FunctionTransformer, X: str) -> str:
    if transformer.inverse_func is np.exp:
        return graph("Exp", X)
    if transformer.inverse_func is np.square:
        return graph("Mul", X, X)
    raise TranslationError(f"the inverse {transformer.inverse_func} of a target")


# Transformers.


def _transform_pipeline(graph: Graph, pipeline: Pipeline, X: str) -> str:
    return _steps(graph, [step for _, step in pipeline.steps], X)


def _columns(graph: Graph, transformer: ColumnTransformer, X: str) -> str:
    names = list(transformer.feature_names_in_)
    parts = []
    for name, step, columns in transformer.transformers_:
        if name == "remainder":
            continue
        index = graph.constant([names.index(column) for column in columns], np.int64)
        parts.append(_steps(graph, [step], graph("Gather", X, index, axis=1)))
    return parts[0] if len(parts) == 1 else graph("Concat", *parts, axis=1)


def _union(graph: Graph, union: FeatureUnion, X: str) -> str:
    parts = [_steps(graph, [step], X) for _, step in union.transformer_list]
    return graph("Concat", *parts, axis=1)


def _function(graph: Graph, transformer: FunctionTransformer, X: str) -> str:
    function = transformer.func
    if function is None:
        return X
    if isinstance(function, partial) and function.func is np.multiply:
        return graph("Mul", X, graph.constant(function.args[0]))
    if isinstance(function, partial) and function.func is np.round:
        shift = graph.constant(10.0 ** function.keywords["decimals"])
        return graph("Div", graph("Round", graph("Mul", X, shift)), shift)
    if function in UFUNCS:
        return graph(UFUNCS[function], X)
    raise TranslationError(f"FunctionTransformer of {function}")


def _impute(graph: Graph, imputer: SimpleImputer, X: str) -> str:
    return graph("Where", graph("IsNaN", X), graph.constant(imputer.statistics_), X)


def _standardize(graph: Graph, scaler: StandardScaler, X: str) -> str:
    centred = graph("Sub", X, graph.constant(scaler.mean_))
    return graph("Div", centred, graph.constant(scaler.scale_))


def _power(graph: Graph, power: PowerTransformer, X: str) -> str:
    """Yeo and Johnson (2000): one formula with exponent l above 0 and 2 - l, mirrored, below."""
    if power.method != "yeo-johnson":
        raise TranslationError(f"PowerTransformer with {power.method}")
    zero, one = graph.constant(0.0), graph.constant(1.0)
    above = graph("GreaterOrEqual", X, zero)
    exponents = np.stack([power.lambdas_, 2 - power.lambdas_])
    is_log = np.abs(exponents) < TINY

    def side(values: NDArray[np.float64]) -> str:
        return graph("Where", above, graph.constant(values[0]), graph.constant(values[1]))

    exponent = side(np.where(is_log, 1.0, exponents))
    grown = graph("Log", graph("Add", graph("Abs", X), one))
    raised = graph("Exp", graph("Mul", exponent, grown))
    bent = graph("Div", graph("Sub", raised, one), exponent)
    if is_log.any():
        bent = graph("Where", graph("Greater", side(is_log.astype(float)), zero), grown, bent)
    bent = graph("Mul", graph("Sign", X), bent)
    return _standardize(graph, power._scaler, bent) if power.standardize else bent


def _splines(graph: Graph, splines: SplineTransformer, X: str) -> str:
    """Each basis function as cubics between the knots, and as straight lines beyond them."""
    if splines.extrapolation != "linear" or not splines.include_bias:
        raise TranslationError("SplineTransformer with other than linear extrapolation")
    degree = splines.degree
    knots = np.array([spline.t[degree:-degree] for spline in splines.bsplines_])
    pieces = np.array(
        [_polynomials(*spline) for spline in zip(splines.bsplines_, knots, strict=True)]
    )  # columns x pieces x (degree + 1) x functions
    columns, count, _, functions = pieces.shape
    origins = np.concatenate([knots[:, :1], knots], axis=1)  # of each piece
    wide = graph("Unsqueeze", X, graph.constant([2], np.int64))
    ends = knots.copy()
    ends[:, -1] = np.nextafter(ends[:, -1], np.inf)  # the last knot itself is not beyond
    passed = graph("GreaterOrEqual", wide, graph.constant(ends))
    piece = graph(
        "ReduceSum",
        graph("Cast", passed, to=TensorProto.INT64),
        graph.constant([2], np.int64),
        keepdims=0,
    )
    index = graph("Add", piece, graph.constant(np.arange(columns) * count, np.int64))
    step = graph("Sub", X, graph("Gather", graph.constant(origins.ravel()), index))
    step = graph("Unsqueeze", step, graph.constant([2], np.int64))
    value = ""
    for power in reversed(range(degree + 1)):  # Horner's rule
        factors = graph.constant(pieces[:, :, power].reshape(-1, functions))
        factor = graph("Gather", factors, index)
        value = graph("Add", graph("Mul", value, step), factor) if value else factor
    return graph("Reshape", value, graph.constant([-1, columns * functions], np.int64))


def _polynomials(spline: Any, knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Taylor factors at the start of each piece: before the first knot, then from each knot on."""
    powers = range(spline.k + 1)
    factors = np.array([spline(knots, nu=power) / factorial(power) for power in powers])
    factors = np.moveaxis(factors, 0, 1)  # knots x powers x functions
    before = factors[:1].copy()
    # Beyond the knots scikit-learn goes on with as many functions as can be there.
    beyond = max(spline.k, 2)
    before[0, 2:] = before[0, :, beyond:] = 0
    factors[-1, 2:] = factors[-1, :, :-beyond] = 0
    return np.concatenate([before, factors])


# Classifiers and regressors.


def _linear(graph: Graph, X: str, weights: Any, intercept: Any) -> str:
    return graph("Gemm", X, graph.constant(weights), graph.constant(intercept))


def _logistic_regression(graph: Graph, model: LogisticRegression, X: str) -> str:
    margins = _linear(graph, X, model.coef_.T, model.intercept_)
    return graph.link(margins, len(model.classes_))


def _linear_regression(graph: Graph, model: Ridge | ElasticNet, X: str) -> str:
    return _linear(graph, X, model.coef_.reshape(-1, 1), np.reshape(model.intercept_, 1))


def _constant(graph: Graph, model: DummyRegressor, X: str) -> str:
    """The same amount for each row, whatever is missing in it."""
    gaps = graph("Cast", graph("IsNaN", X), to=TensorProto.DOUBLE)
    rows = graph("ReduceSum", gaps, graph.constant([1], np.int64), keepdims=1)
    zeros = graph("Mul", rows, graph.constant(0.0))
    return graph("Add", zeros, graph.constant(model.constant_))


def _layers(graph: Graph, model: MLPClassifier | MLPRegressor, X: str) -> str:
    activation = {"tanh": "Tanh", "relu": "Relu", "logistic": "Sigmoid", "identity": "Identity"}
    *hidden, last = zip(model.coefs_, model.intercepts_, strict=True)
    for weights, intercept in hidden:
        X = graph(activation[model.activation], _linear(graph, X, weights, intercept))
    return _linear(graph, X, *last)


def _mlp(graph: Graph, model: MLPClassifier, X: str) -> str:
    return graph.link(_layers(graph, model, X), len(model.classes_))


def _calibrated(graph: Graph, model: CalibratedClassifierCV, X: str) -> str:
    """Platt's curves over one support vector machine: one for two classes, else one for each."""
    (inner,) = model.calibrated_classifiers_
    if inner.method != "sigmoid" or type(inner.estimator) is not SVC:
        raise TranslationError("calibration of other than a support vector machine by curves")
    is_binary = len(model.classes_) == 2
    decide = _support_vectors if is_binary else _one_against_rest
    decision = decide(graph, inner.estimator, X)
    slopes, shifts = ([-getattr(c, name) for c in inner.calibrators] for name in ("a_", "b_"))
    margins = graph("Mul", decision, graph.constant(slopes))
    probabilities = graph("Sigmoid", graph("Add", margins, graph.constant(shifts)))
    if is_binary:
        return probabilities
    total = graph("ReduceSum", probabilities, graph.constant([1], np.int64), keepdims=1)
    return graph("Div", probabilities, total)


def _kernel(graph: Graph, model: SVC | SVR, X: str) -> str:
    """exp(-gamma |x - s|^2) of each support vector (|x|^2 - 2 x s + |s|^2)."""
    if model.kernel != "rbf":
        raise TranslationError(f"a support vector machine with the kernel {model.kernel}")
    vectors, gamma = model.support_vectors_, model._gamma
    squares = graph("ReduceSumSquare", X, graph.constant([1], np.int64), keepdims=1)
    squares = graph("Mul", squares, graph.constant(-gamma))
    rest = _linear(graph, X, 2 * gamma * vectors.T, -gamma * np.square(vectors).sum(axis=1))
    return graph("Exp", graph("Add", rest, squares))


def _support_vectors(graph: Graph, model: SVC | SVR, X: str) -> str:
    """The decision function of two classes, or the amounts."""
    return _linear(graph, _kernel(graph, model, X), model.dual_coef_.T, model.intercept_)


def _one_against_rest(graph: Graph, model: SVC, X: str) -> str:
    """Of more classes: the votes of each pair of them, and how sure these are, as scikit-learn."""
    count = len(model.classes_)
    ends = np.cumsum(model.n_support_)
    of_class = [slice(end - rows, end) for rows, end in zip(model.n_support_, ends, strict=True)]
    pairs = list(combinations(range(count), 2))
    weights = np.zeros((len(model.support_vectors_), len(pairs)))
    for place, (one, other) in enumerate(pairs):
        weights[of_class[one], place] = model.dual_coef_[other - 1, of_class[one]]
        weights[of_class[other], place] = model.dual_coef_[one, of_class[other]]
    towards = np.zeros((len(pairs), count))  # of a vote for the second of the pair
    for place, (one, other) in enumerate(pairs):
        towards[place, [one, other]] = -1, 1
    decision = _linear(graph, _kernel(graph, model, X), weights, model.intercept_)
    is_second = graph("Less", decision, graph.constant(0.0))
    ballots = graph("Cast", is_second, to=TensorProto.DOUBLE)
    votes = _linear(graph, ballots, towards, np.arange(count)[::-1])
    sure = graph("MatMul", decision, graph.constant(-towards))
    scale = graph("Mul", graph.constant(3.0), graph("Add", graph("Abs", sure), graph.constant(1.0)))
    return graph("Add", votes, graph("Div", sure, scale))


ESTIMATORS: dict[type, Callable[..., str]] = {
    Pipeline: _pipeline,
    VotingClassifier: _voting,
    FixedThresholdClassifier: _fixed_threshold,
    LogisticRegression: _logistic_regression,
    MLPClassifier: _mlp,
    CalibratedClassifierCV: _calibrated,
    ExtraTreesClassifier: onnx_trees.forest,
    RandomForestClassifier: onnx_trees.forest,
    HistGradientBoostingClassifier: onnx_trees.boosting,
    VotingRegressor: _weighted_mean,
    TransformedTargetRegressor: _transformed_target,
    Ridge: _linear_regression,
    ElasticNet: _linear_regression,
    DummyRegressor: _constant,
    MLPRegressor: _layers,
    SVR: _support_vectors,
    ExtraTreesRegressor: onnx_trees.forest,
    RandomForestRegressor: onnx_trees.forest,
    HistGradientBoostingRegressor: onnx_trees.boosting,
}
INVERSES: dict[type, Callable[..., str]] = {
    StandardScaler: _inverse_standardize,
    FunctionTransformer: _inverse_function,
}
UFUNCS = {np.sin: "Sin", np.cos: "Cos"}
TRANSFORMERS: dict[type, Callable[..., str]] = {
    Pipeline: _transform_pipeline,
    ColumnTransformer: _columns,
    FeatureUnion: _union,
    FunctionTransformer: _function,
    OneHotEncoder: onnx_codes.one_hot,
    TargetEncoder: onnx_codes.by_target,
    SimpleImputer: _impute,
    StandardScaler: _standardize,
    PowerTransformer: _power,
    SplineTransformer: _splines,
}

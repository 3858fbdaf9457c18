import io
import pickle
from dataclasses import replace
from math import inf

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from pipeline.datasets import row_hash
from pipeline.evaluation.cross_validation import make_folds, predicted_rows, score
from pipeline.evaluation.metrics import of_rows
from pipeline.models import families as models
from pipeline.results import Dataset, Metadata, Training, Tuning
from pipeline.steps import train as step
from pipeline.steps.train import fit, train
from pipeline.tasks import BINARY
from tests.support.builders import make_config, make_dataset, make_trial, with_scales_far_apart

KINDS = [
    ((0, 1), 1),
    ((0, 1), 0),
    (("no", "yes"), "yes"),
    (("no", "yes"), "no"),
    ((False, True), True),
    (("a", "b", "c"), None),
]
TWO = KINDS[:-1]
PARAMS = {
    "logistic_regression": {"transform": "standard", "C": 0.5},
    "spline_logistic_regression": {"n_knots": 4, "C": 0.2},
    "raw_logistic_regression": {},
}


def make_tuning(dataset: Dataset, *, helpful: int = 2, seed: int = 0) -> Tuning:
    """Three families' trials; `helpful` of them have predictions that complete each other."""
    rng = np.random.default_rng(seed)
    truth = np.unique(dataset.y_train, return_inverse=True)[1]
    classes = len(dataset.contract.classes)
    noise = rng.normal(size=(len(PARAMS), len(truth), classes))
    out_of_fold, trials = {}, []
    for number, family in enumerate(PARAMS):
        skill = 1.2 if number < helpful else -1.0
        logits = skill * np.eye(classes)[truth] + 0.8 * noise[number]
        out_of_fold[family] = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        trials.append(make_trial(number, family, 0.5 + number / 10, PARAMS[family]))
    return Tuning(tuple(trials), {trial.family: trial for trial in trials}, out_of_fold)


def run(labels=(0, 1), positive=1, helpful=2, **settings) -> tuple[Dataset, Tuning, Training]:
    dataset = make_dataset(labels, positive)
    tuning = make_tuning(dataset, helpful=helpful)
    config = make_config(positive=positive, train=settings, tune={"folds": 3})
    return dataset, tuning, fit(config, dataset, tuning)


def alone(dataset: Dataset, family: str) -> Pipeline:
    """The family's pipeline, fitted on the training part."""
    return models.build(family, PARAMS[family], 0).fit(dataset.X_train, dataset.y_train)


class OnlyScikitLearn(pickle.Unpickler):
    """Refuses what a process without this project could not load."""

    def find_class(self, module: str, name: str) -> object:
        root, _, _ = module.partition(".")
        assert root in {"sklearn", "numpy", "scipy", "pandas", "builtins"}, module
        return super().find_class(module, name)


@pytest.mark.parametrize(("labels", "positive"), KINDS)
def test_model_is_a_stock_scikit_learn_classifier(labels, positive):
    dataset, _, training = run(labels, positive)
    loaded = OnlyScikitLearn(io.BytesIO(pickle.dumps(training.model))).load()
    expected = training.model.predict_proba(dataset.X_test)
    np.testing.assert_array_equal(loaded.predict_proba(dataset.X_test), expected)
    assert loaded.classes_.tolist() == list(dataset.contract.classes)


@pytest.mark.parametrize("ensemble", [True, False])
@pytest.mark.parametrize("threshold", ["auto", 0.35])
@pytest.mark.parametrize(("labels", "positive"), TWO)
def test_predict_is_the_positive_class_from_the_threshold_on(labels, positive, threshold, ensemble):
    dataset, _, training = run(labels, positive, threshold=threshold, ensemble=ensemble)
    place = dataset.contract.positive_index
    probability = training.model.predict_proba(dataset.X)[:, place]
    expected = np.asarray(labels)[np.where(probability >= training.threshold, place, 1 - place)]
    assert training.model.predict(dataset.X).tolist() == expected.tolist()
    assert len(set(expected)) == 2
    assert training.model.threshold == training.threshold


@pytest.mark.parametrize(("labels", "positive"), [KINDS[0], KINDS[3], KINDS[-1]])
def test_blend_is_the_weighted_mean_of_the_families(labels, positive):
    dataset, _, training = run(labels, positive)
    assert sum(training.weights.values()) == pytest.approx(1)
    assert sum(weight > 0 for weight in training.weights.values()) == 2
    expected = sum(
        weight * alone(dataset, family).predict_proba(dataset.X_test)
        for family, weight in training.weights.items()
    )
    np.testing.assert_allclose(training.model.predict_proba(dataset.X_test), expected, atol=1e-9)


def test_family_without_weight_is_told_but_not_in_the_model():
    _, _, training = run(helpful=2)
    assert list(training.weights) == list(PARAMS)
    assert training.weights["raw_logistic_regression"] == 0
    voting = training.model.estimator_
    assert isinstance(voting, VotingClassifier)
    assert list(voting.named_estimators_) == [
        "logistic_regression",
        "spline_logistic_regression",
    ]


@pytest.mark.parametrize(("labels", "positive"), [KINDS[0], KINDS[-1]])
def test_without_ensemble_the_best_trial_alone_is_the_model(labels, positive):
    dataset, tuning, training = run(labels, positive, ensemble=False)
    (best,) = list(tuning.chosen)[:1]
    assert training.weights == {best: 1.0}
    expected = alone(dataset, best).predict_proba(dataset.X_test)
    np.testing.assert_allclose(training.model.predict_proba(dataset.X_test), expected, atol=1e-9)
    assert training.report.artifacts == {}


def test_without_ensemble_the_first_of_the_chosen_decides_not_the_order_of_the_trials():
    dataset = make_dataset()
    tuning = make_tuning(dataset)
    worst_first = replace(tuning, chosen=dict(reversed(tuning.chosen.items())))
    training = fit(make_config(train={"ensemble": False}), dataset, worst_first)
    assert list(training.weights) == ["raw_logistic_regression"]


def test_chosen_trial_of_a_family_gives_the_params():
    dataset = make_dataset()
    tuning = make_tuning(dataset)
    chosen = make_trial(9, "logistic_regression", 0.1, {"transform": "power", "C": 7.0})
    training = fit(
        make_config(train={"ensemble": False}),
        dataset,
        replace(tuning, chosen={**tuning.chosen, "logistic_regression": chosen}),
    )
    pipeline = training.model.estimator_
    assert "powertransformer" in pipeline.named_steps
    assert pipeline[-1].C == 7.0


@pytest.mark.parametrize(("labels", "positive"), [KINDS[0], KINDS[1], KINDS[-1]])
def test_metrics_without_a_choice_are_those_of_the_out_of_fold_predictions(labels, positive):
    dataset, tuning, training = run(labels, positive, ensemble=False, threshold=0.4)
    folds = make_folds(BINARY, dataset.y_train, 3, seed=0)
    predicted = tuning.out_of_fold["logistic_regression"]
    predictions = of_rows(dataset.contract, dataset.y_train, predicted, None)
    means, spread = score(predictions, folds, thresholds=[0.4] * 3)
    assert (training.metrics, training.spread) == (means, spread)


def test_metrics_of_a_fold_come_from_weights_and_threshold_chosen_without_it(monkeypatch):
    dataset = make_dataset()
    tuning = make_tuning(dataset)
    truth = np.unique(dataset.y_train, return_inverse=True)[1]
    select, choose = step.select_weights, step.choose_threshold
    selected_on, chosen_on = [], []

    def selecting(out_of_fold, truth, metadata, task):
        selected_on.append(out_of_fold["logistic_regression"][:, 0].tolist())
        assert len(truth) == len(out_of_fold["logistic_regression"])
        return select(out_of_fold, truth, metadata)

    def choosing(train, contract, probabilities, truth, sample_weight):
        chosen_on.append(truth.tolist())
        return choose(train, contract, probabilities, truth, sample_weight)

    monkeypatch.setattr(step, "select_weights", selecting)
    monkeypatch.setattr(step, "choose_threshold", choosing)
    fit(make_config(tune={"folds": 3}), dataset, tuning)

    folds = make_folds(BINARY, dataset.y_train, 3, seed=0)
    rows = [np.arange(len(truth)), *(others for others, _ in folds)]
    first = tuning.out_of_fold["logistic_regression"][:, 0]
    assert selected_on == [first[r].tolist() for r in rows]
    assert chosen_on == [truth[r].tolist() for r in rows]


def test_fold_in_time_has_weights_and_threshold_of_what_was_predicted_before_it(monkeypatch):
    dataset = make_dataset()
    day = pd.Series(dataset.X_train.reset_index().index, dataset.X_train.index, name="day")
    dataset = replace(dataset, metadata=Metadata(times=day))
    tuning = make_tuning(dataset)
    folds = make_folds(BINARY, dataset.y_train, 3, seed=0, metadata=dataset.metadata)
    is_predicted = predicted_rows(folds, len(day))
    for predicted in tuning.out_of_fold.values():
        predicted[~is_predicted] = np.nan
    select, rows = step.select_weights, []

    def selecting(out_of_fold, truth, metadata, task):
        rows.append(sorted(metadata.times))
        weights = select(out_of_fold, truth, metadata)
        assert truth.size or set(weights.values()) == {1 / len(weights)}
        return weights

    monkeypatch.setattr(step, "select_weights", selecting)
    training = fit(make_config(tune={"folds": 3}), dataset, tuning)

    starts = [min(test) for _, test in folds]
    every = list(range(starts[0], len(day)))
    assert rows == [every, *(list(range(starts[0], start)) for start in starts)]
    assert np.isfinite([*training.metrics.values(), training.threshold]).all()


def test_weights_are_drawn_where_there_is_a_choice():
    _, _, training = run()
    assert isinstance(training.report.artifacts["weights.png"], Figure)


def test_report_names_metrics_compilation_and_the_rows_that_were_trained_on():
    dataset, tuning, fitted = run()
    training, compilation = train(make_config(tune={"folds": 3}), dataset, tuning)
    report = training.report
    assert report.metrics == fitted.report.metrics
    assert report.metrics["cv/log_loss"] == training.metrics["log_loss"]
    assert report.tags == {"compiled": compilation.summary}
    rows = report.artifacts[row_hash.FILE]
    everything = row_hash.hash_rows(dataset.contract, dataset.X, dataset.y)
    assert (rows.format, len(rows.values["identities"])) == (row_hash.FORMAT, len(dataset.X_train))
    assert set(rows.values["identities"]) < set(everything)


def test_train_is_the_same_twice():
    dataset, _, first = run()
    _, _, again = run()
    assert (first.weights, first.threshold, first.metrics) == (
        again.weights,
        again.threshold,
        again.metrics,
    )
    np.testing.assert_array_equal(
        first.model.predict_proba(dataset.X), again.model.predict_proba(dataset.X)
    )


def test_train_never_looks_at_the_test_part():
    dataset, tuning, expected = run()
    garbage = replace(
        dataset,
        X_test=dataset.X_test * np.nan,
        y_test=pd.Series("garbage", index=dataset.y_test.index),
    )
    training = fit(make_config(tune={"folds": 3}), garbage, tuning)
    assert (training.weights, training.threshold) == (expected.weights, expected.threshold)
    assert (training.metrics, training.spread) == (expected.metrics, expected.spread)
    np.testing.assert_array_equal(
        training.model.predict_proba(dataset.X), expected.model.predict_proba(dataset.X)
    )


def test_train_says_nothing_when_the_last_fit_does_not_converge():
    dataset = with_scales_far_apart(make_dataset())
    with pytest.warns(ConvergenceWarning), threadpool_limits(1):  # what it would say
        models.tutorial().fit(dataset.X_train, dataset.y_train)
    raw = make_trial(0, "raw_logistic_regression", 0.1)
    out_of_fold = make_tuning(dataset).out_of_fold
    training = fit(make_config(), dataset, Tuning((raw,), {raw.family: raw}, out_of_fold))
    assert training.weights == {"raw_logistic_regression": 1.0}


def test_summary_of_a_blend_tells_the_weights_and_both_figures():
    _, tuning, training = run()
    weights, figures = training.report.note.split(" by ensemble selection; ")
    shares = [part.split(" % ") for part in weights.split(" + ")]
    used = {family: weight for family, weight in training.weights.items() if weight > 0}
    assert {family: float(share) / 100 for share, family in shares} == pytest.approx(used, abs=1e-3)
    assert [float(share) for share, _ in shares] == sorted(
        (float(share) for share, _ in shares), reverse=True
    )
    assert f"log loss {training.metrics['log_loss']:.4f} nested" in figures
    assert f"{tuning.best.loss:.4f} selected (the lowest of 3 trials" in figures
    assert figures.endswith("optimistic: logistic_regression, trial 0)")


def test_summary_tells_when_the_weights_are_the_plain_mean():
    dataset = make_dataset()
    tuning = make_tuning(dataset)
    first = tuning.out_of_fold["logistic_regression"]
    training = fit(
        make_config(), dataset, replace(tuning, out_of_fold=dict.fromkeys(PARAMS, first))
    )
    shares = " + ".join(f"33.3 % {family}" for family in PARAMS)
    message = f"{shares} (the plain mean, from which it starts) by ensemble selection; log loss"
    assert training.report.note.startswith(message)


def test_summary_tells_when_one_family_has_all_the_weight():
    _, _, training = run(("a", "b", "c"), None, helpful=1)
    message = "logistic_regression has all the weight of 3 families by ensemble selection; log loss"
    assert training.report.note.startswith(f"{message} {training.metrics['log_loss']:.4f} nested")


def test_summary_without_ensemble_has_no_nested_figure():
    dataset = make_dataset()
    tuning = make_tuning(dataset)
    training = fit(make_config(train={"ensemble": False}), dataset, tuning)
    assert training.report.note == (
        "logistic_regression, trial 0 alone, as train.ensemble is false; log loss 0.5000 selected "
        "(the lowest of 3 trials, so it is optimistic)"
    )


def test_summary_counts_only_trials_that_succeeded():
    dataset = make_dataset()
    tuning = make_tuning(dataset)
    failed = make_trial(3, "svc", inf)
    training = fit(make_config(), dataset, replace(tuning, trials=(*tuning.trials, failed)))
    assert "the lowest of 3 trials" in training.report.note


@pytest.mark.parametrize("ensemble", [True, False])
def test_summary_of_the_only_trial_claims_no_selection(ensemble):
    dataset = make_dataset()
    trial = make_trial(0, "logistic_regression", 0.5, PARAMS["logistic_regression"])
    tuning = Tuning(
        (trial, make_trial(1, "svc", inf)), {trial.family: trial}, make_tuning(dataset).out_of_fold
    )
    training = fit(make_config(train={"ensemble": ensemble}), dataset, tuning)
    loss = training.metrics["log_loss"]
    assert training.report.note == (
        "logistic_regression, trial 0 alone, as no other family has a trial that succeeded; "
        f"log loss {loss:.4f} (of the only trial, so nothing was selected)"
    )


def test_summary_tells_when_a_default_stands_for_a_lower_trial():
    dataset = make_dataset()
    tuning = make_tuning(dataset)
    lower = make_trial(9, "spline_logistic_regression", 0.1)
    tuning = replace(tuning, trials=(*tuning.trials, lower))
    training = fit(make_config(train={"ensemble": False}), dataset, tuning)
    loss = training.metrics["log_loss"]
    assert training.report.note.startswith(
        f"logistic_regression, trial 0 alone, as train.ensemble is false; log loss {loss:.4f} ("
    )
    assert training.report.note.endswith(
        "0.1000 selected (the lowest of 4 trials, so it is optimistic: "
        "spline_logistic_regression, trial 9)"
    )

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from pipeline.config.sections import Train
from pipeline.models.threshold import cheapest, choose_threshold, with_threshold
from tests.support.builders import make_dataset

COSTS = [(1, 1, 1 / 2), (1, 4, 1 / 5), (3, 1, 3 / 4), (0.1, 0.3, 1 / 4)]  # c, d, c / (c + d)


def cost(probability, is_positive, threshold, train: Train) -> float:
    predicted = probability >= threshold
    alarms, missed = (predicted & ~is_positive).sum(), (~predicted & is_positive).sum()
    return train.cost_false_positive * alarms + train.cost_false_negative * missed


def calibrated_without_noise() -> tuple[np.ndarray, np.ndarray]:
    """At the probability k/20 exactly k of 20 rows are positive."""
    probability = np.repeat(np.arange(1, 20) / 20, 20)
    is_positive = np.concatenate([np.arange(20) < k for k in range(1, 20)])
    return probability, is_positive


@pytest.mark.parametrize(("false_positive", "false_negative", "expected"), COSTS)
@pytest.mark.parametrize(("slope", "shift"), [(1, 0), (0.5, 0), (2, 0), (1, -1.5), (3, 2)])
def test_threshold_is_elkans_of_the_probabilities_behind_those_that_are_bent(
    slope, shift, false_positive, false_negative, expected
):
    calibrated, is_positive = calibrated_without_noise()
    train = Train(cost_false_positive=false_positive, cost_false_negative=false_negative)
    threshold = cheapest(expit(slope * logit(calibrated) + shift), is_positive, train)
    assert threshold == pytest.approx(expit(slope * logit(expected) + shift), abs=1e-3)


@pytest.mark.parametrize("seed", range(10))
def test_threshold_of_a_calibrated_sample_stays_near_elkans_in_spite_of_noise(seed):
    rng = np.random.default_rng(seed)
    probability = rng.uniform(0.02, 0.98, 500)
    is_positive = rng.random(500) < probability
    assert cheapest(probability, is_positive, Train()) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("low", [0.01, 0.3, 0.51])
def test_threshold_moves_between_the_classes_when_they_are_apart(low):
    probability = np.linspace(low, low + 0.48, 100)
    threshold = cheapest(probability, np.arange(100) >= 50, Train())
    assert probability[49] < threshold <= probability[50]


@pytest.mark.parametrize(("false_positive", "false_negative", "expected"), COSTS)
@pytest.mark.parametrize("shift", [-2.5, 0, 2.5])
def test_threshold_costs_as_little_as_the_best_cut_of_a_sample_without_noise(
    shift, false_positive, false_negative, expected
):
    calibrated, is_positive = calibrated_without_noise()
    probability = expit(logit(calibrated) + shift)
    train = Train(cost_false_positive=false_positive, cost_false_negative=false_negative)
    reached = cost(probability, is_positive, cheapest(probability, is_positive, train), train)
    cuts = [*np.unique(probability), 2.0]
    assert reached == pytest.approx(min(cost(probability, is_positive, c, train) for c in cuts))
    if shift:
        assert reached < cost(probability, is_positive, expected, train)


def test_threshold_falls_when_missing_a_positive_costs_more():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=1000)
    is_positive = rng.random(1000) < expit(2 * signal)
    low, even, high = (
        cheapest(expit(2 * signal - 2), is_positive, Train(cost_false_negative=missed))
        for missed in (5.0, 1.0, 0.2)
    )
    assert low < even < high


@pytest.mark.parametrize(("cost", "is_positive"), [(3, True), (0.1, False)])
def test_all_rows_are_predicted_alike_when_the_model_is_worse_than_chance(cost, is_positive):
    probability, truth = calibrated_without_noise()
    threshold = cheapest(1 - probability, truth, Train(cost_false_negative=cost))
    assert set(1 - probability >= threshold) == {is_positive}


@pytest.mark.parametrize("constant", [0.0, 0.3, 0.5, 1.0])
def test_threshold_of_a_constant_probability_is_a_probability(constant):
    assert 0 < cheapest(np.full(40, constant), np.arange(40) < 8, Train()) < 1


def test_threshold_of_sure_and_right_probabilities_lies_between_them():
    is_positive = np.arange(60) < 20
    assert cheapest(is_positive * 1.0, is_positive, Train()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("labels", "positive", "expected"), [((0, 1), 1, 1), (("no", "yes"), "no", 0)]
)
def test_threshold_is_of_the_positive_class_and_the_configs_own_goes_first(
    labels, positive, expected
):
    contract = make_dataset(labels, positive).contract
    probability, is_positive = calibrated_without_noise()
    columns = [1 - probability, probability]
    probabilities = np.stack(columns if expected else columns[::-1], axis=1)
    truth = np.where(is_positive, expected, 1 - expected)
    train = Train(cost_false_negative=4)
    chosen = choose_threshold(train, contract, probabilities, truth)
    assert chosen == cheapest(probability, is_positive, train)
    assert choose_threshold(Train(threshold=0.3), contract, probabilities, truth) == 0.3


def test_model_predicts_the_positive_class_from_the_threshold_on():
    dataset = make_dataset(("no", "yes"), "no")
    X, y = dataset.X_train[["noise"]], dataset.y_train
    model = with_threshold(LogisticRegression(), 0.55, dataset.contract).fit(X, y)
    predicted = np.where(model.predict_proba(X)[:, 0] >= 0.55, "no", "yes")
    assert model.predict(X).tolist() == predicted.tolist()
    assert set(predicted) == {"no", "yes"}
    plain = LogisticRegression()
    assert with_threshold(plain, None, dataset.contract) is plain


@pytest.mark.parametrize("is_positive", [np.ones(20, dtype=bool), np.zeros(20, dtype=bool)])
def test_threshold_of_one_class_alone_is_elkans(is_positive):
    train = Train(cost_false_positive=1, cost_false_negative=4)
    assert cheapest(np.linspace(0.1, 0.9, 20), is_positive, train) == pytest.approx(0.2)


def test_threshold_counts_rows_by_their_weights():
    probability, is_positive = calibrated_without_noise()
    counts = np.where(is_positive, 4.0, 1.0)
    weighted = cheapest(probability, is_positive, Train(), counts)
    repeated = np.repeat(np.arange(len(probability)), counts.astype(int))
    expected = cheapest(probability[repeated], is_positive[repeated], Train())
    assert weighted == pytest.approx(expected, abs=1e-3)
    assert weighted < 0.3

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import log_loss

from pipeline.config.sections import Train
from pipeline.models import ensemble as blend
from pipeline.models.ensemble import choose_threshold, is_close, mix, row_losses, select_weights

NAMES = ("svc", "mlp", "extra_trees", "logistic_regression", "hist_gradient_boosting")
COSTS = [(1, 1, 1 / 2), (1, 4, 1 / 5), (3, 1, 3 / 4), (0.1, 0.3, 1 / 4)]  # c, d, c / (c + d)


def two_columns(positive: np.ndarray) -> np.ndarray:
    return np.c_[1 - positive, positive]


def random_families(seed: int, classes: int, rows: int = 150):
    """Five families of varied skill, and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(rows) % classes)
    families = {}
    for name in NAMES:
        skill, noise = rng.uniform(0, 2), rng.uniform(0.2, 1.5)
        logits = skill * np.eye(classes)[truth] + noise * rng.normal(size=(rows, classes))
        families[name] = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return families, truth


def cost(probability, is_positive, threshold, train: Train) -> float:
    called = probability >= threshold
    alarms, missed = (called & ~is_positive).sum(), (~called & is_positive).sum()
    return train.cost_false_positive * alarms + train.cost_false_negative * missed


def calibrated_without_noise() -> tuple[np.ndarray, np.ndarray]:
    """At the probability k/20 exactly k of 20 rows are positive."""
    probability = np.repeat(np.arange(1, 20) / 20, 20)
    is_positive = np.concatenate([np.arange(20) < k for k in range(1, 20)])
    return probability, is_positive


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_weights_are_shares_that_sum_to_one(seed, classes):
    families, truth = random_families(seed, classes)
    weights = select_weights(families, truth)
    assert list(weights) == list(families)
    assert sum(weights.values()) == pytest.approx(1)
    assert min(weights.values()) >= 0


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_blend_is_never_worse_than_the_mean_nor_clearly_than_the_best_family(seed, classes):
    families, truth = random_families(seed, classes)
    own = {n: row_losses(p[np.arange(len(truth)), truth]) for n, p in families.items()}
    best = min(own.values(), key=np.mean)
    weights = select_weights(families, truth)
    blended = row_losses(mix(families, weights)[np.arange(len(truth)), truth])
    mean = np.mean(list(families.values()), axis=0)
    assert blended.mean() <= log_loss(truth, mean)
    assert blended.mean() <= best.mean() or is_close(blended, best, 0.5)


def test_family_that_dominates_gets_all_the_weight():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 500)
    families = {
        "svc": two_columns(rng.uniform(0.1, 0.9, 500)),
        "mlp": two_columns(np.where(truth == 1, 0.9, 0.1)),
        "extra_trees": two_columns(rng.uniform(0.1, 0.9, 500)),
    }
    assert select_weights(families, truth) == {"svc": 0.0, "mlp": 1.0, "extra_trees": 0.0}


def test_family_that_does_not_help_gets_no_weight():
    rng = np.random.default_rng(1)
    signal = rng.normal(size=(2, 2000))
    truth = (rng.random(2000) < expit(2 * signal.sum(axis=0))).astype(int)
    families = {
        "svc": two_columns(expit(signal[0])),  # too timid, so a constant makes it worse
        "mlp": two_columns(expit(signal[1])),
        "extra_trees": two_columns(np.full(2000, 0.5)),
        "logistic_regression": two_columns(rng.uniform(0.01, 0.99, 2000)),
    }
    weights = select_weights(families, truth)
    assert weights["extra_trees"] == weights["logistic_regression"] == 0
    assert weights["svc"] > 0
    assert weights["mlp"] > 0


def test_complementary_families_share_the_weight():
    rng = np.random.default_rng(2)
    signal = rng.normal(size=(2, 2000))
    truth = (rng.random(2000) < expit(2 * signal.sum(axis=0))).astype(int)
    families = {
        "svc": two_columns(expit(2 * signal[0])),
        "mlp": two_columns(expit(2 * signal[1])),
    }
    weights = select_weights(families, truth)
    assert weights["svc"] == pytest.approx(0.5, abs=0.1)
    alone = min(log_loss(truth, p) for p in families.values())
    assert log_loss(truth, mix(families, weights)) < alone - 0.01


def test_family_alone_has_weight_one():
    families, truth = random_families(0, 3)
    assert select_weights({"svc": families["svc"]}, truth) == {"svc": 1.0}


def test_probability_of_zero_for_the_truth_does_not_break_the_selection():
    truth = np.array([0, 1, 0, 1])
    families = {"svc": two_columns(1.0 - truth), "mlp": two_columns(np.full(4, 0.5))}
    assert select_weights(families, truth)["mlp"] > 0.9


def alike_but_noisy(seed: int = 1, rows: int = 300) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Four families that know the same, each with its own noise."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, rows)
    signal = 1.5 * (truth - 0.5) + rng.normal(0, 1, rows)
    families = {name: two_columns(expit(signal + rng.normal(0, 1, rows))) for name in NAMES[:4]}
    return families, truth


def losses_of(families, weights, truth) -> np.ndarray:
    return row_losses(mix(families, weights)[np.arange(len(truth)), truth])


def test_families_that_differ_by_noise_keep_equal_weights(monkeypatch):
    families, truth = alike_but_noisy()
    assert set(select_weights(families, truth).values()) == {0.25}
    monkeypatch.setattr(blend, "STANDARD_ERRORS", 0)
    assert set(select_weights(families, truth).values()) != {0.25}


def test_weights_of_families_that_differ_by_noise_are_nearer_the_mean_than_the_lowest_loss(
    monkeypatch,
):
    def distances() -> np.ndarray:
        weights = [select_weights(*alike_but_noisy(seed)) for seed in range(10)]
        return np.array([np.ptp(list(found.values())) for found in weights])

    found = distances()
    monkeypatch.setattr(blend, "STANDARD_ERRORS", 0)
    lowest = distances()
    assert (found <= lowest).all()
    assert found.mean() < lowest.mean() - 0.1


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_blend_is_as_near_the_plain_mean_as_half_a_standard_error_allows(
    seed, classes, monkeypatch
):
    families, truth = random_families(seed, classes)
    found = losses_of(families, select_weights(families, truth), truth)
    monkeypatch.setattr(blend, "STANDARD_ERRORS", 0)
    best = losses_of(families, select_weights(families, truth), truth)
    mean = losses_of(families, dict.fromkeys(families, 1 / len(families)), truth)
    worse_by = found - best
    assert worse_by.mean() <= 0.5 * worse_by.std(ddof=1) / np.sqrt(len(truth))
    assert best.mean() <= found.mean() <= mean.mean()


def test_end_of_the_way_is_where_no_single_copy_lowers_the_loss(monkeypatch):
    families, truth = random_families(3, 2)
    monkeypatch.setattr(blend, "STANDARD_ERRORS", 0)
    weights = select_weights(families, truth)
    best = losses_of(families, weights, truth).mean()
    for name in families:
        for share in (0.9, 0.99):
            moved = {other: share * weight for other, weight in weights.items()}
            moved[name] += 1 - share
            assert losses_of(families, moved, truth).mean() > best - 1e-3


def test_weights_leave_the_plain_mean_where_more_rows_make_the_same_gain_certain():
    families, truth = alike_but_noisy()
    more = {name: np.tile(predicted, (50, 1)) for name, predicted in families.items()}
    few, many = select_weights(families, truth), select_weights(more, np.tile(truth, 50))
    assert set(few.values()) == {0.25}
    gain = losses_of(families, few, truth) - losses_of(families, many, truth)
    assert gain.mean() > 0


@pytest.mark.parametrize("standard_errors", [0.5, 1, 2])
@pytest.mark.parametrize(
    ("share", "close"), [(-1.5, True), (0.0, True), (0.99, True), (1.01, False)]
)
def test_losses_are_close_up_to_so_many_standard_errors(share, close, standard_errors):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=50)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    best = rng.uniform(0.1, 2.0, 50)
    excess = share * standard_errors / np.sqrt(50)
    assert is_close(best + 0.3 * (noise + excess), best, standard_errors) is close


def test_losses_are_close_to_themselves_and_not_when_worse_on_every_row_alike():
    best = np.random.default_rng(0).uniform(0.1, 2.0, 50)
    assert is_close(best, best, 2) is True
    assert is_close(best + 0.125, best, 2) is False
    assert is_close(best - 0.125, best, 2) is True


def test_row_losses_have_the_log_loss_as_their_mean():
    families, truth = random_families(0, 3)
    for predicted in families.values():
        own = row_losses(predicted[np.arange(len(truth)), truth])
        assert own.shape == truth.shape
        assert own.mean() == pytest.approx(log_loss(truth, predicted))


def test_row_losses_of_sure_probabilities_are_finite():
    worst, best = row_losses(np.array([0.0, 1.0]))
    assert worst == pytest.approx(-np.log(np.finfo(float).eps))
    assert best == 0


def test_mix_is_the_weighted_mean():
    families = {"svc": np.array([[0.2, 0.8]]), "mlp": np.array([[0.6, 0.4]])}
    mixed = mix(families, {"svc": 0.75, "mlp": 0.25})
    np.testing.assert_allclose(mixed, [[0.3, 0.7]])


@pytest.mark.parametrize(("false_positive", "false_negative", "expected"), COSTS)
def test_threshold_of_calibrated_probabilities_is_elkans(false_positive, false_negative, expected):
    train = Train(cost_false_positive=false_positive, cost_false_negative=false_negative)
    found = choose_threshold(*calibrated_without_noise(), train)
    assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("false_positive", "false_negative", "expected"), COSTS)
@pytest.mark.parametrize(("slope", "shift"), [(0.5, 0), (2, 0), (1, -1.5), (3, 2)])
def test_threshold_undoes_what_bends_calibrated_probabilities(
    slope, shift, false_positive, false_negative, expected
):
    calibrated, is_positive = calibrated_without_noise()
    train = Train(cost_false_positive=false_positive, cost_false_negative=false_negative)
    found = choose_threshold(expit(slope * logit(calibrated) + shift), is_positive, train)
    assert found == pytest.approx(expit(slope * logit(expected) + shift), abs=1e-3)


@pytest.mark.parametrize("seed", range(10))
def test_threshold_of_a_calibrated_sample_stays_near_elkans_in_spite_of_noise(seed):
    rng = np.random.default_rng(seed)
    probability = rng.uniform(0.02, 0.98, 500)
    is_positive = rng.random(500) < probability
    assert choose_threshold(probability, is_positive, Train()) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("low", [0.01, 0.3, 0.51])
def test_threshold_moves_between_the_classes_when_they_are_apart(low):
    probability = np.linspace(low, low + 0.48, 100)
    is_positive = np.arange(100) >= 50
    found = choose_threshold(probability, is_positive, Train())
    assert probability[49] < found <= probability[50]


@pytest.mark.parametrize(("false_positive", "false_negative", "expected"), COSTS)
@pytest.mark.parametrize("shift", [-2.5, 0, 2.5])
def test_threshold_costs_as_little_as_the_cheapest_cut_of_a_sample_without_noise(
    shift, false_positive, false_negative, expected
):
    calibrated, is_positive = calibrated_without_noise()
    probability = expit(logit(calibrated) + shift)
    train = Train(cost_false_positive=false_positive, cost_false_negative=false_negative)
    found = cost(probability, is_positive, choose_threshold(probability, is_positive, train), train)
    cuts = [*np.unique(probability), 2.0]
    cheapest = min(cost(probability, is_positive, cut, train) for cut in cuts)
    assert found == pytest.approx(cheapest)
    if shift:
        assert found < cost(probability, is_positive, expected, train)


def test_threshold_falls_when_missing_a_positive_costs_more():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=1000)
    is_positive = rng.random(1000) < expit(2 * signal)
    found = [
        choose_threshold(expit(2 * signal - 2), is_positive, Train(cost_false_negative=missed))
        for missed in (0.2, 1.0, 5.0)
    ]
    assert found[0] > found[1] > found[2]


@pytest.mark.parametrize(("cost", "called"), [(3, True), (0.1, False)])
def test_rows_are_called_alike_when_the_predictions_are_worse_than_chance(cost, called):
    probability, is_positive = calibrated_without_noise()
    threshold = choose_threshold(1 - probability, is_positive, Train(cost_false_negative=cost))
    assert set(1 - probability >= threshold) == {called}


@pytest.mark.parametrize("constant", [0.0, 0.3, 0.5, 1.0])
def test_threshold_of_a_constant_probability_is_a_probability(constant):
    found = choose_threshold(np.full(40, constant), np.arange(40) < 8, Train())
    assert 0 < found < 1


def test_threshold_of_sure_and_right_probabilities_lies_between_them():
    is_positive = np.arange(60) < 20
    assert choose_threshold(is_positive * 1.0, is_positive, Train()) == pytest.approx(0.5, abs=0.01)

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeRegressor

from pipeline.evaluation.metrics import row_losses, true_class_probability
from pipeline.inference.runtimes import outputs
from pipeline.models import ensemble
from pipeline.models.ensemble import assemble, is_close, mix, select_weights
from pipeline.results import Metadata
from pipeline.tasks import TASKS

NAMES = ("svc", "mlp", "extra_trees", "logistic_regression", "hist_gradient_boosting")


def two_columns(positive: np.ndarray) -> np.ndarray:
    return np.c_[1 - positive, positive]


def losses_of(families, weights, truth) -> np.ndarray:
    return row_losses(true_class_probability(mix(families, weights), truth))


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


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_blend_is_never_worse_than_the_mean_nor_clearly_than_the_best_family(seed, classes):
    families, truth = random_families(seed, classes)
    weights = select_weights(families, truth)
    assert list(weights) == list(families)
    assert sum(weights.values()) == pytest.approx(1)
    assert min(weights.values()) >= 0
    best = min((losses_of(families, {name: 1}, truth) for name in families), key=np.mean)
    blended = losses_of(families, weights, truth)
    assert blended.mean() <= log_loss(truth, np.mean(list(families.values()), axis=0))
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
    """Four families of the same signal, each with noise of its own."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, rows)
    signal = 1.5 * (truth - 0.5) + rng.normal(0, 1, rows)
    families = {name: two_columns(expit(signal + rng.normal(0, 1, rows))) for name in NAMES[:4]}
    return families, truth


def test_weights_of_families_that_differ_by_noise_are_nearer_the_mean_than_the_lowest_loss(
    monkeypatch,
):
    def distances() -> np.ndarray:
        weights = [select_weights(*alike_but_noisy(seed)) for seed in range(10)]
        return np.array([np.ptp(list(each.values())) for each in weights])

    chosen = distances()
    monkeypatch.setattr(ensemble, "STANDARD_ERRORS", 0)
    lowest = distances()
    assert chosen.min() == 0
    assert (chosen <= lowest).all()
    assert chosen.mean() < lowest.mean() - 0.1


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_blend_is_as_near_the_plain_mean_as_half_a_standard_error_allows(
    seed, classes, monkeypatch
):
    families, truth = random_families(seed, classes)
    chosen = losses_of(families, select_weights(families, truth), truth)
    monkeypatch.setattr(ensemble, "STANDARD_ERRORS", 0)
    best = losses_of(families, select_weights(families, truth), truth)
    mean = losses_of(families, dict.fromkeys(families, 1 / len(families)), truth)
    worse_by = chosen - best
    assert worse_by.mean() <= 0.5 * worse_by.std(ddof=1) / np.sqrt(len(truth))
    assert best.mean() <= chosen.mean() <= mean.mean()


def test_end_of_the_path_is_where_no_single_copy_lowers_the_loss(monkeypatch):
    families, truth = random_families(3, 2)
    monkeypatch.setattr(ensemble, "STANDARD_ERRORS", 0)
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


@pytest.mark.parametrize(
    ("share", "close"), [(-1.5, True), (0.0, True), (0.99, True), (1.01, False)]
)
def test_losses_of_groups_and_weights_are_close_as_their_units_are(share, close):
    """Each of 50 units stands for as many equal rows: they are no further evidence."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=50)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    best = rng.uniform(0.1, 2.0, 50)
    losses = best + 0.3 * (noise + share * 2 / np.sqrt(50))
    rows = np.repeat(np.arange(50), 4)
    grouped = Metadata(groups=pd.Series(rows))
    weighted = Metadata(weights=pd.Series(np.full(50, 4.0)))

    assert is_close(losses[rows], best[rows], 2, grouped) is close
    assert is_close(losses, best, 2, weighted) is close


def test_rows_without_weight_have_no_say_in_the_blend():
    families, truth = random_families(1, 2)
    counts = (np.arange(len(truth)) % 2).astype(float)
    part = {name: predicted[counts > 0] for name, predicted in families.items()}
    weighted = select_weights(families, truth, Metadata(weights=pd.Series(counts)))
    assert weighted == select_weights(part, truth[counts > 0])
    assert set(select_weights({n: p[:0] for n, p in families.items()}, truth[:0]).values()) == {0.2}


def test_mix_is_the_weighted_mean():
    families = {"svc": np.array([[0.2, 0.8]]), "mlp": np.array([[0.6, 0.4]])}
    mixed = mix(families, {"svc": 0.75, "mlp": 0.25})
    np.testing.assert_allclose(mixed, [[0.3, 0.7]])


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_model_of_members_averages_what_they_give_by_weight(task):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 3
    X = rng.normal(size=(40, 2)) + y[:, None]
    kinds = (GaussianNB, LogisticRegression) if task.has_classes else (Ridge, DecisionTreeRegressor)
    members = {"svc": kinds[0](), "mlp": kinds[1]()}
    weights = {"svc": 0.75, "extra_trees": 0.0, "mlp": 0.25}
    model = assemble(task, members, weights).fit(X, y)
    expected = sum(weights[n] * outputs(member.fit(X, y), X) for n, member in members.items())
    np.testing.assert_allclose(outputs(model, X), expected)
    alone = kinds[0]()
    assert assemble(task, {"svc": alone}, weights) is alone

"""Which rule chooses the best model from a search, nested: on rows that no choice has seen.

In each outer fold the search runs on the training part, once; every rule then chooses by the same
out-of-fold predictions, and what it chooses is asked for the rows of the outer fold.
"""

import argparse
import contextlib
import io
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import example_tables
from choices import some_of
from example_tables import Make

from pipeline.config.sections import Config
from pipeline.config.tune import Tune
from pipeline.evaluation.corrected_t_test import Comparison, corrected_t_test
from pipeline.evaluation.cross_validation import Fold, make_folds
from pipeline.evaluation.metrics import row_losses
from pipeline.models import families as models
from pipeline.models.ensemble import is_close, selection_path
from pipeline.results import Dataset, Probabilities, Trial
from pipeline.steps.tune import tune
from pipeline.tasks import Family

Losses = NDArray[np.float64]
Weights = NDArray[np.float64]
ROWS: dict[Make, int] = {
    example_tables.pima: 768,
    example_tables.breast_cancer: 569,
    example_tables.wine: 178,
    example_tables.digits: 300,
    example_tables.waves: 351,
    example_tables.shells: 400,
    example_tables.exclusive_or: 400,
    example_tables.moons: 300,
    example_tables.linear: 400,
    example_tables.steps: 500,
    example_tables.categories: 500,
    example_tables.weak: 400,
    example_tables.quantiles: 350,
    example_tables.six_classes: 350,
    example_tables.noise: 300,
}
TABLES = {make.__name__: make for make in ROWS}
SHARES = np.linspace(0, 1, 11).tolist()  # of the plain mean


@dataclass(frozen=True)
class Candidate:
    """A trial with its out-of-fold predictions, and its fit's for the rows of the outer fold."""

    trial: Trial
    out_of_fold: Probabilities
    outer: Probabilities


@dataclass(frozen=True)
class Search:
    """Each family's default and best trial in one outer fold, and the true classes' places."""

    defaults: dict[Family, Candidate]
    best: dict[Family, Candidate]
    truth: NDArray[np.intp]
    folds: list[Fold]
    outer_truth: NDArray[np.intp]


def main() -> None:
    """Prints a table of the rules' losses, and one of their differences to the best alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=some_of(TABLES), default=tuple(TABLES))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--trials", type=int, default=Tune().max_evals)
    parser.add_argument("--cache", type=Path, help="a folder for searches, to go on with")
    options = parser.parse_args()
    searches: dict[str, list[Search]] = {name: [] for name in options.only}
    for repeat in range(options.repeats):
        for name in options.only:
            start = time.perf_counter()
            searches[name] += _searches(name, repeat, options)
            seconds = time.perf_counter() - start
            print(f"{name}, repeat {repeat + 1}: {seconds:.0f} s", file=sys.stderr)
    results = {name: _losses(found) for name, found in searches.items()}
    share = 1 / (options.folds - 1)
    print(f"{options.repeats} x {options.folds} outer folds, {options.trials} trials in each")
    _print_losses(results)
    for reference in REFERENCES:
        _print_differences(results, reference, share)


def _searches(name: str, repeat: int, options: argparse.Namespace) -> list[Search]:
    """One search per outer fold, or what the cache has of it."""
    make = TABLES[name]
    X, y = make(np.random.default_rng(0), ROWS[make])
    settings = Tune(max_evals=options.trials, seed=repeat, parallelism=1)
    config, dataset = example_tables.prepared(X, y, settings)
    splitter = StratifiedKFold(options.folds, shuffle=True, random_state=repeat)
    found = []
    for place, fold in enumerate(splitter.split(X, y)):
        file = f"{name}-{options.trials}-{repeat}-{place}-of-{options.folds}.joblib"
        path = options.cache / file if options.cache else None
        if path is not None and path.exists():
            found.append(joblib.load(path))
            continue
        found.append(_search(config, dataset, fold))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            joblib.dump(found[-1], path)
    return found


def _search(config: Config, dataset: Dataset, fold: Fold) -> Search:
    train, test = fold
    X, y = dataset.X, dataset.y
    part = replace(dataset, X_train=X.iloc[train], y_train=y.iloc[train])
    codes = np.unique(y, return_inverse=True)[1]
    families = config.tune.families
    defaults: dict[Family, tuple[Trial, Probabilities]] = {}
    best: dict[Family, tuple[Trial, Probabilities]] = {}

    def on_trial(trial: Trial, predictions: Probabilities | None) -> None:
        if predictions is None:
            return
        if trial.number < len(families):
            defaults[trial.family] = (trial, predictions)
        if trial.family not in best or trial.loss < best[trial.family][0].loss:
            best[trial.family] = (trial, predictions)

    def candidate(trial: Trial, predictions: Probabilities) -> Candidate:
        model = models.build(trial.family, trial.params, config.tune.seed)
        fitted = model.fit(part.X_train, part.y_train)
        return Candidate(trial, predictions, fitted.predict_proba(X.iloc[test]))

    with threadpool_limits(1), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        tune(config, part, on_trial)
        return Search(
            defaults={family: candidate(*pair) for family, pair in defaults.items()},
            best={family: candidate(*pair) for family, pair in best.items()},
            truth=codes[train],
            folds=make_folds(part.contract.task, part.y_train, config.tune.folds, config.tune.seed),
            outer_truth=codes[test],
        )


@dataclass(frozen=True)
class Evidence:
    """What a rule may look at: rows x families, what each gives the true class out of fold."""

    own: Probabilities
    path: list[Weights]  # of the ensemble selection, from the plain mean to its end

    @classmethod
    def of(cls, own: Probabilities) -> "Evidence":
        return cls(own, [counts / counts.sum() for counts in selection_path(own)])


Folds = list[tuple[Evidence, Probabilities]]  # the other folds' rows, and the fold's


def _of_true_class(candidates: list[Candidate], truth: NDArray[np.intp]) -> Probabilities:
    """Rows x families: what each family gives the true class, out of fold."""
    rows = np.arange(len(truth))
    return np.stack([one.out_of_fold[rows, truth] for one in candidates], axis=1)


def picked(search: Search, standard_errors: float | None) -> list[Candidate]:
    """Each family's default where it is so close to its best, else the best; the best first.

    None is the best of each whatever the default.
    """
    found = []
    for family, best in search.best.items():
        default = search.defaults.get(family, best)
        default_loss, best_loss = (
            row_losses(_of_true_class([one], search.truth)[:, 0]) for one in (default, best)
        )
        is_default = standard_errors is not None and is_close(
            default_loss, best_loss, standard_errors
        )
        found.append(default if is_default else best)
    return sorted(found, key=lambda one: (one.trial.loss, one.trial.number))


def alone(evidence: Evidence, folds: Folds) -> Weights:
    """The family of the lowest loss has all the weight."""
    losses = row_losses(evidence.own).mean(axis=0)
    return np.eye(len(losses))[int(losses.argmin())]


def mean(evidence: Evidence, folds: Folds) -> Weights:
    """All alike."""
    return evidence.path[0]


def end(evidence: Evidence, folds: Folds) -> Weights:
    """Where the ensemble selection comes to rest."""
    return evidence.path[-1]


def within(standard_errors: float, evidence: Evidence, folds: Folds) -> Weights:
    """The first on the way of the ensemble selection that is so close to its end."""
    last = row_losses(evidence.own @ evidence.path[-1])
    return next(
        weights
        for weights in evidence.path
        if is_close(row_losses(evidence.own @ weights), last, standard_errors)
    )


def shrunk(evidence: Evidence, folds: Folds) -> Weights:
    """Between the end and the plain mean, by the share of it that is best on the other folds."""

    def at(share: float, path: list[Weights]) -> Weights:
        return np.asarray(share * path[0] + (1 - share) * path[-1])

    losses = [
        sum(float(row_losses(fold @ at(share, others.path)).sum()) for others, fold in folds)
        for share in SHARES
    ]
    return at(SHARES[int(np.argmin(losses))], evidence.path)


def chosen(evidence: Evidence, folds: Folds) -> Weights:
    """The best alone, the plain mean or the end, whichever is best on the other folds."""
    rules = (alone, mean, end)
    losses = [
        sum(float(row_losses(fold @ rule(others, [])).sum()) for others, fold in folds)
        for rule in rules
    ]
    return rules[int(np.argmin(losses))](evidence, folds)


Rule = Callable[[Evidence, Folds], Weights]
WEIGHTS: dict[str, Rule] = {
    "alone": alone,
    "mean": mean,
    "2 SE": partial(within, 2.0),
    "1 SE": partial(within, 1.0),
    "0.5 SE": partial(within, 0.5),
    "end": end,
    "shrunk": shrunk,
    "chosen": chosen,
}
PICKS: dict[str, float | None] = {"2 SE": 2.0, "1 SE": 1.0, "best": None}
REFERENCES = (("2 SE", "alone"), ("best", "alone"))
Results = dict[tuple[str, str], Losses]


def _losses(searches: list[Search]) -> Results:
    """By pick and rule, the log loss on each outer fold."""
    found: dict[tuple[str, str], list[float]] = {}
    for search in searches:
        for pick, standard_errors in PICKS.items():
            candidates = picked(search, standard_errors)
            own = _of_true_class(candidates, search.truth)
            evidence = Evidence.of(own)
            folds = [(Evidence.of(own[others]), own[fold]) for others, fold in search.folds]
            rows = np.arange(len(search.outer_truth))
            outer = np.stack([one.outer[rows, search.outer_truth] for one in candidates], axis=1)
            for name, rule in WEIGHTS.items():
                loss = row_losses(outer @ rule(evidence, folds)).mean()
                found.setdefault((pick, name), []).append(float(loss))
    return {key: np.array(losses) for key, losses in found.items()}


def _print_losses(results: dict[str, Results]) -> None:
    for pick in PICKS:
        table = pd.DataFrame(
            {
                rule: {name: losses[pick, rule].mean() for name, losses in results.items()}
                for rule in WEIGHTS
            }
        )
        table.loc["mean of the tables"] = table.mean()
        print(f"\nmean outer log loss; default within / best of each family: {pick}")
        print(table.to_string(float_format="{:.4f}".format))


def _print_differences(
    results: dict[str, Results], reference: tuple[str, str], share: float
) -> None:
    """Each rule minus the reference; marked where the test finds it worse (!) or better (*)."""
    print(f"\nminus {reference[1]} ({reference[0]}): ! worse, * better, p < 0.05")
    for pick in PICKS:
        cells: dict[str, dict[str, str]] = {}
        for rule in WEIGHTS:
            tests = {
                name: corrected_t_test(losses[pick, rule] - losses[reference], share)
                for name, losses in results.items()
            }
            cells[rule] = {name: _cell(test) for name, test in tests.items()}
            differences = [test.difference for test in tests.values()]
            worse = sum(_mark(test) == "!" for test in tests.values())
            better = sum(_mark(test) == "*" for test in tests.values())
            cells[rule] |= {
                "mean of the tables": f"{np.mean(differences):+.4f} ",
                "largest": f"{max(differences):+.4f} ",
                "worse, better": f"{worse}, {better} ",
            }
        print(f"\npick {pick}\n{pd.DataFrame(cells).to_string()}")


def _cell(test: Comparison) -> str:
    return f"{test.difference:+.4f}{_mark(test) or ' '}"


def _mark(test: Comparison) -> str:
    if not test.p_value < 0.05:
        return ""
    return "!" if test.difference > 0 else "*"


if __name__ == "__main__":
    main()

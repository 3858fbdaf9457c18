"""The pipeline's fits without MLflow: one script of pandas, scikit-learn and hyperopt."""

import argparse
import json
import pickle
from pathlib import Path
from typing import Any

import fits
import numpy as np
import pandas as pd
import rows


def main() -> None:
    """Tunes, blends, scores, pickles."""
    options = _options()
    plan = fits.read_plan(options.plan)
    train, test = rows.split(rows.read(options.table))
    search = _in_parallel if options.parallel else _by_fmin
    folds = search(plan["trials"], train)
    losses = [float(np.mean(fold)) for fold in folds]
    model = fits.blend(plan, losses, train)
    scores = {"blend": fits.scores(model, test)}
    for name, baseline in fits.baselines().items():
        scores[name] = fits.scores(fits.fit(baseline, train), test)
    Path(options.model).write_bytes(pickle.dumps(model))
    members = len(model.estimator_.estimators_)
    count = sum(map(len, folds)) + members + len(fits.baselines())
    result = {"fits": count, "losses": losses, "scores": scores}
    Path(options.result).write_text(json.dumps(result, indent=1))


def _by_fmin(trials: list[dict[str, Any]], train: pd.DataFrame) -> list[list[float]]:
    """One after the other, in the plan's order."""
    from hyperopt import STATUS_OK, Trials, fmin, hp  # takes a second, and `--parallel` needs none

    folds: list[list[float]] = []

    def objective(number: int) -> dict[str, Any]:
        folds.append(fits.fold_losses(trials[number], train))
        return {"status": STATUS_OK, "loss": float(np.mean(folds[-1]))}

    fmin(
        objective,
        hp.choice("number", range(len(trials))),
        algo=_next,
        max_evals=len(trials),
        trials=Trials(),
        rstate=np.random.default_rng(fits.SEED),
        return_argmin=False,
    )
    return folds


def _next(new_ids: list[int], domain: Any, trials: Any, seed: int) -> Any:
    """Hyperopt's `algo` that costs nothing: trial n is the plan's n-th."""
    (number,) = new_ids
    place = {"idxs": {"number": [number]}, "vals": {"number": [number]}}
    misc = {"tid": number, "cmd": domain.cmd, "workdir": domain.workdir, **place}
    return trials.new_trial_docs([number], [None], [domain.new_result()], [misc])


def _in_parallel(trials: list[dict[str, Any]], train: pd.DataFrame) -> list[list[float]]:
    """On all cores at once."""
    from joblib import Parallel, delayed

    return Parallel(n_jobs=-1)(delayed(fits.fold_losses)(trial, train) for trial in trials)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", required=True, help="JSON: what to try and how to blend it")
    parser.add_argument("--table", default="data/pima.csv")
    parser.add_argument("--parallel", action="store_true", help="joblib in place of fmin")
    parser.add_argument("--model", default="model.pkl", help="where the pickle goes")
    parser.add_argument("--result", default="result.json", help="where the scores go")
    return parser.parse_args()


if __name__ == "__main__":
    main()

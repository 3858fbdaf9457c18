"""Judges the model on the test part, beside two baselines."""

from typing import Any

import fits
import matplotlib.pyplot as plt
import mlflow
import numpy as np
import pandas as pd
import rows
from matplotlib.figure import Figure
from sklearn import metrics
from sklearn.calibration import CalibrationDisplay
from sklearn.inspection import permutation_importance
from tables import load_table, options


def main() -> None:
    """Leaves scores and pictures."""
    given = options("ingest_run", "train_run")
    with mlflow.start_run(run_name="evaluate"):
        train = load_table(given.ingest_run, "train.csv")
        test = load_table(given.ingest_run, "test.csv")
        model = mlflow.sklearn.load_model(f"runs:/{given.train_run}/model")
        scores = {"blend": fits.scores(model, test)}
        for name, baseline in fits.baselines().items():
            scores[name] = fits.scores(fits.fit(baseline, train), test)
        for name, values in scores.items():
            for metric, value in values.items():
                mlflow.log_metric(f"{name}/{metric}", value)
        mlflow.log_dict(scores, "scores.json")
        for name, figure in _figures(model, test).items():
            mlflow.log_figure(figure, f"{name}.png")


def _figures(model: Any, test: pd.DataFrame) -> dict[str, Figure]:
    X, y = rows.X_y(test)
    probability = model.predict_proba(X)[:, 1]
    confusion = metrics.ConfusionMatrixDisplay.from_predictions(y, model.predict(X))
    return {
        "roc": metrics.RocCurveDisplay.from_predictions(y, probability).figure_,
        "precision_recall": metrics.PrecisionRecallDisplay.from_predictions(y, probability).figure_,
        "calibration": CalibrationDisplay.from_predictions(y, probability, n_bins=8).figure_,
        "confusion": confusion.figure_,
        "thresholds": _thresholds(y, probability),
        "importance": _importance(model, X, y),
    }


def _thresholds(y: Any, probability: Any) -> Figure:
    figure, axes = plt.subplots()
    places = np.linspace(0.05, 0.95, 19)
    for score in (metrics.accuracy_score, metrics.f1_score):
        axes.plot(places, [score(y, probability >= t) for t in places], label=score.__name__)
    axes.legend()
    return figure


def _importance(model: Any, X: pd.DataFrame, y: Any) -> Figure:
    found = permutation_importance(
        model, X, y, scoring="neg_log_loss", n_repeats=5, random_state=fits.SEED
    )
    figure, axes = plt.subplots()
    axes.barh(X.columns, found.importances_mean, xerr=found.importances_std)
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main()

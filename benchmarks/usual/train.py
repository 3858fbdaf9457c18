"""Fits the blend and registers it."""

import fits
import matplotlib.pyplot as plt
import mlflow
import rows
from matplotlib.figure import Figure
from mlflow.models import infer_signature
from tables import load_table, options


def main() -> None:
    """Leaves the model, its requirements inferred by MLflow as it does when none are given."""
    given = options("ingest_run", "tune_run", "plan")
    with mlflow.start_run(run_name="train"):
        train = load_table(given.ingest_run, "train.csv")
        trials = load_table(given.tune_run, "trials.csv")
        plan = fits.read_plan(given.plan)
        model = fits.blend(plan, trials["log_loss"].tolist(), train)
        for family, weight in plan["weights"].items():
            mlflow.log_metric(f"weight/{family}", weight)
        mlflow.log_metric("threshold", plan["threshold"])
        mlflow.log_dict({"members": list(model.estimator_.named_estimators_)}, "blend.json")
        mlflow.log_figure(_weights(plan["weights"]), "weights.png")
        X, _ = rows.X_y(train)
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(X, model.predict(X)),
            serialization_format="cloudpickle",
            registered_model_name="usual",
        )


def _weights(weights: dict[str, float]) -> Figure:
    figure, axes = plt.subplots()
    axes.barh(list(weights), list(weights.values()))
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main()

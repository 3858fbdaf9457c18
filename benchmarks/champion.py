"""Leaves a champion of the registry as the doors want it, and the requests they are asked.

Runs in a copy of the project that has trained. The folder that it fills holds:
`model.pkl`, the bare pipeline; `sklearn`, the same as MLflow's sklearn flavor saves it;
`one.jsonl`, requests of one row; `many.jsonl`, one request of `MANY` rows;
`all.jsonl`, one request of the whole table; `expected.json`, the true answers to that.
"""

import argparse
import json
import pickle
from pathlib import Path

import mlflow
import pandas as pd
import rows
import sklearn
from contenders import MANY
from mlflow import MlflowClient
from mlflow.models import infer_signature

FEW = 64  # different rows: who remembers the last answer gains nothing


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the registered model")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    model = mlflow.sklearn.load_model(f"models:/{options.name}@champion")
    X, _ = rows.X_y(rows.read("data/pima.csv"))
    _register_again(options.name)
    options.folder.mkdir()
    (options.folder / "model.pkl").write_bytes(pickle.dumps(model))
    mlflow.sklearn.save_model(
        model,
        str(options.folder / "sklearn"),
        serialization_format="pickle",
        signature=infer_signature(X, model.predict(X)),
        pip_requirements=[f"scikit-learn=={sklearn.__version__}"],
    )
    few, many = X.head(FEW), X.sample(MANY, replace=True, random_state=0)
    requests = {
        "one": [_request(few.iloc[[place]]) for place in range(FEW)],
        "many": [_request(many)],
        "all": [_request(X)],
    }
    for name, lines in requests.items():
        (options.folder / f"{name}.jsonl").write_text("\n".join(lines))
    probability = model.predict_proba(X)[:, 1]
    expected = {"label": model.predict(X).tolist(), "probability": probability.tolist()}
    (options.folder / "expected.json").write_text(json.dumps(expected))


def _register_again(name: str) -> None:
    """Makes a second version of the champion's model, to be its shadow."""
    client = MlflowClient()
    first = client.get_model_version_by_alias(name, "champion")
    client.create_model_version(
        name, first.source, first.run_id, tags=first.tags, model_id=first.model_id
    )


def _request(part: pd.DataFrame) -> str:
    """The body; a gap is null."""
    return json.dumps({"dataframe_records": json.loads(part.to_json(orient="records"))})


if __name__ == "__main__":
    main()

"""The served model: a contract and a pickled scikit-learn classifier, as an MLflow flavor.

One logged model carries two flavors: `sklearn`, the bare classifier, and `python_function`,
which checks each row against the contract and answers with label and probability.
"""

import gc
import json
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pandas as pd
import yaml
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from pipeline import contract as contracts
from pipeline.contract import Contract
from pipeline.errors import ContractError

CONTRACT_FILE = "contract.json"


class ServedModel:
    """Answers rows with `label`, `probability` and, past two classes, one per class."""

    def __init__(self, model: Any, contract: Contract, identity: dict[str, str]) -> None:
        self.model = model
        self.contract = contract
        self.identity = identity

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One answer per row, in order.

        `params`: `threshold` moves the decision between two classes, `version` adds the
        registered model's name and version. Raises MlflowException (HTTP 400) for a row that
        breaks the contract; then no row is answered.
        """
        params = params or {}
        try:
            X = contracts.check(self.contract.columns, rows, with_values=False)
        except ContractError as error:
            raise _refused(str(error)) from None
        none = np.empty((0, len(self.contract.classes)))  # scikit-learn refuses no rows
        probabilities = self.model.predict_proba(X) if len(X) else none
        answers = self._answers(probabilities, params)
        return answers.assign(**self.identity) if params.get("version") else answers

    def _answers(self, probabilities: Any, params: dict[str, Any]) -> pd.DataFrame:
        classes = np.asarray(self.contract.classes)
        positive = self.contract.positive_index
        if positive is None:
            columns = {f"probability_{k}": p for k, p in zip(classes, probabilities.T, strict=True)}
            best = probabilities.argmax(axis=1)
            top = probabilities.max(axis=1, initial=0)
            return pd.DataFrame({"label": classes[best], "probability": top, **columns})
        probability = probabilities[:, positive]
        called = probability >= self._threshold(params)
        label = classes[np.where(called, positive, 1 - positive)]
        return pd.DataFrame({"label": label, "probability": probability})

    def _threshold(self, params: dict[str, Any]) -> float:
        threshold = params.get("threshold")
        if threshold is None:
            return float(self.model.threshold)
        if not 0 <= threshold <= 1:
            raise _refused("params.threshold must be between 0 and 1")
        return float(threshold)


def signature(contract: Contract, threshold: float | None) -> ModelSignature:
    """Doubles in, whatever the column held in training: integers would refuse null."""
    label = {bool: DataType.boolean, int: DataType.long, str: DataType.string}
    probabilities = ["probability"]
    if contract.positive is None:
        probabilities += [f"probability_{k}" for k in contract.classes]
    params = [ParamSpec("version", DataType.boolean, False)]
    if threshold is not None:
        params.append(ParamSpec("threshold", DataType.double, threshold))
    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(DataType.double, name, required=not column.optional)
                for name, column in contract.columns.items()
            ]
        ),
        outputs=Schema(
            [
                ColSpec(label[type(contract.classes[0])], "label"),
                *(ColSpec(DataType.double, name) for name in probabilities),
            ]
        ),
        params=ParamSchema(params),
    )


def save_model(
    path: str, mlflow_model: Model, model: Any, contract: Contract, **sklearn_options: Any
) -> None:
    """MLflow's hook for `Model.log(flavor=...)`: the sklearn flavor, then ours over its pyfunc."""
    mlflow.sklearn.save_model(
        model,
        path,
        mlflow_model=mlflow_model,
        serialization_format="pickle",
        **sklearn_options,
    )
    (Path(path) / CONTRACT_FILE).write_text(contract.model_dump_json(indent=1), encoding="utf-8")
    mlflow_model.flavors["python_function"]["loader_module"] = __name__
    mlflow_model.save(str(Path(path) / "MLmodel"))


def _load_pyfunc(path: str) -> ServedModel:
    """MLflow's hook for `mlflow.pyfunc.load_model` and `mlflow models serve`."""
    contract = Contract.model_validate_json((Path(path) / CONTRACT_FILE).read_text("utf-8"))
    model = mlflow.sklearn.load_model(path)
    # What was loaded stays: out of the collector's sight, it no longer delays answers.
    gc.collect()
    gc.freeze()
    return ServedModel(model, contract, _identity(Path(path)))


def _identity(path: Path) -> dict[str, str]:
    """Name and version in the registry, which MLflow leaves beside a model loaded from there."""
    meta = path / "registered_model_meta"
    if meta.exists():
        known = yaml.safe_load(meta.read_text("utf-8"))
        return {"model": str(known["model_name"]), "version": str(known["model_version"])}
    model_id = Model.load(str(path)).model_id
    return {"model": str(model_id or path.name), "version": ""}


def _refused(sentence: str) -> MlflowException:
    return MlflowException(sentence, error_code=INVALID_PARAMETER_VALUE)


def example(rows: pd.DataFrame) -> str:
    """The request body for `POST /invocations`."""
    records = json.loads(rows.to_json(orient="records"))
    return json.dumps({"dataframe_records": records})

"""The served model: a contract and a pickled scikit-learn classifier, as an MLflow flavor.

One logged model carries two flavors: `sklearn`, the bare classifier, and `python_function`,
which checks each row against the contract and answers with label and probability.
"""

import gc
import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow.sklearn
import pandas as pd
import yaml
from mlflow import MlflowClient
from mlflow.environment_variables import _MLFLOW_IS_IN_SERVING_ENVIRONMENT as SERVING
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from pipeline.errors import ContractError, ModelError
from pipeline.inference import manifest
from pipeline.inference import predictor as scorer
from pipeline.inference.predictor import EXAMPLE, EXAMPLE_ANSWER, Params, Scorer
from pipeline.schema import contract as contracts
from pipeline.schema.contract import Contract

log = logging.getLogger(__name__)

REGISTERED = "registered_model_meta"  # MLflow's, beside a model loaded from the registry


class ServedModel:
    """Answers rows with `label`, `probability` and, past two classes, one per class."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        """One answer per row, in order: a DataFrame, or what MLflow's server makes of one.

        `params`: `threshold` moves the decision between two classes, `version` adds the
        registered model's name and version, `explain` what pushed each probability up or down.
        Raises MlflowException: INVALID_PARAMETER_VALUE (HTTP 400) for a row that breaks the
        contract, and then no row is answered; INTERNAL_ERROR (HTTP 500) for what the classifier
        itself raises, which is logged, since MLflow would send the stack trace.
        """
        try:
            asked = self.scorer.params(params or {})
            X = contracts.to_matrix(self.scorer.rules, rows)
            columns = self.scorer.answers(X, asked)
        except ContractError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None
        except ModelError as error:
            raise MlflowException(str(error), error_code=INTERNAL_ERROR) from None
        except Exception:
            log.exception("the classifier failed on a request")
            message = "the classifier failed on these rows; the server's log says why"
            raise MlflowException(message, error_code=INTERNAL_ERROR) from None
        if SERVING.get():  # records at once: a frame would take longer than the answer
            return scorer.records(columns)
        return pd.DataFrame(columns)


def signature(contract: Contract, threshold: float | None) -> ModelSignature:
    """Doubles in, whatever the column held in training: integers would refuse null."""
    label = {bool: DataType.boolean, int: DataType.long, str: DataType.string}
    probabilities = ["probability"]
    if contract.positive is None:
        probabilities += [f"probability_{k}" for k in contract.classes]
    params = [ParamSpec(name, DataType.boolean, False) for name in ("version", "explain")]
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
    path: str,
    mlflow_model: Model,
    model: Any,
    contract: Contract,
    served: Mapping[str, Any],
    graph: bytes | None = None,
    loader_module: str = __name__,
    **sklearn_options: Any,
) -> None:
    """MLflow's hook for `Model.log(flavor=...)`: the sklearn flavor, then ours over its pyfunc.

    `served` is of `scorer.describe`; `graph` is the model compiled, if it could be;
    `loader_module` is this module, by its name in the code that goes along.
    """
    mlflow.sklearn.save_model(
        model,
        path,
        mlflow_model=mlflow_model,
        serialization_format="pickle",
        **sklearn_options,
    )
    folder = Path(path)
    (folder / scorer.CONTRACT).write_text(contract.model_dump_json(indent=1), encoding="utf-8")
    (folder / scorer.SERVED).write_text(json.dumps(served, indent=1), encoding="utf-8")
    if graph is not None:
        (folder / scorer.GRAPH).write_bytes(graph)
    example = sklearn_options.get("input_example")
    if example is not None:
        answering = scorer.of_model(model, contract, served)
        X = contracts.to_matrix(answering.rules, example)
        expected = {"predictions": scorer.records(answering.answers(X, Params()))}
        (folder / EXAMPLE).write_text(request(example), encoding="utf-8")
        (folder / EXAMPLE_ANSWER).write_text(json.dumps(expected, indent=1), encoding="utf-8")
    mlflow_model.flavors["python_function"]["loader_module"] = loader_module
    mlflow_model.save(str(folder / "MLmodel"))


def _load_pyfunc(path: str) -> ServedModel:
    """MLflow's hook for `mlflow.pyfunc.load_model` and `mlflow models serve`.

    A model of the registry is held against its manifest there before anything is unpickled.
    """
    folder = Path(path)
    identity = _identity(folder)
    promoted = _manifest(identity)
    try:
        if promoted is None:
            loaded = scorer.load(folder, identity)
        else:
            with tempfile.TemporaryDirectory() as copy:
                manifest.copy(folder, promoted, Path(copy))
                loaded = scorer.load(Path(copy), identity)
    except ModelError as error:
        raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None
    # What was loaded stays: out of the collector's sight, it no longer delays answers.
    gc.collect()
    gc.freeze()
    return ServedModel(loaded)


def _identity(folder: Path) -> dict[str, str]:
    """Name and version in the registry, which MLflow leaves beside a model loaded from there."""
    meta = folder / REGISTERED
    known = yaml.safe_load(meta.read_text("utf-8")) if meta.exists() else {}
    if known.get("model_name"):
        return {"model": str(known["model_name"]), "version": str(known["model_version"])}
    model_id = Model.load(str(folder)).model_id
    return {"model": str(model_id or folder.name), "version": ""}


def _manifest(identity: Mapping[str, str]) -> manifest.Manifest | None:
    """The registry's, if the model is of a registry that is within reach and was promoted."""
    if not identity["version"]:
        return None
    shown = f"{identity['model']} version {identity['version']}"
    if not _registry_is_there():
        log.warning("%s is not verified: its registry is out of reach", shown)
        return None
    try:
        found = MlflowClient().get_model_version(identity["model"], identity["version"])
    except MlflowException as error:
        log.warning("%s is not verified: %s", shown, error.message)
        return None
    known = manifest.from_tags(found.tags)
    if known is None:
        log.warning("%s is not verified: it was never promoted", shown)
    return known


def _registry_is_there() -> bool:
    """False in a container of its own, where MLflow would make an empty database."""
    uri = mlflow.get_registry_uri()
    kind, _, path = uri.partition(":///")
    return kind != "sqlite" or Path(path).exists()


def request(rows: pd.DataFrame) -> str:
    """The request body for `POST /invocations`."""
    filled = rows.astype(object).where(rows.notna(), None)
    return json.dumps({"dataframe_records": filled.to_dict(orient="records")})

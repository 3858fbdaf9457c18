"""The served model: a contract and a pickled scikit-learn classifier, as an MLflow flavor.

One logged model carries two flavors: `sklearn`, the bare classifier, and `python_function`,
which checks each row against the contract and answers with label and probability.
"""

import gc
import logging
import tempfile
from collections.abc import Mapping, Sequence
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
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from pipeline.errors import ContractError, ModelError
from pipeline.inference import manifest, model_folder
from pipeline.inference.predictor import Predictor, Trained, flags_of, records
from pipeline.inference.runtimes import Linear, of_estimator
from pipeline.schema.contract import Contract
from pipeline.schema.kinds import kind_of
from pipeline.schema.rules import to_matrix
from pipeline.schema.targets import target_of

log = logging.getLogger(__name__)


class ServedModel:
    """Answers rows by their task: with label and probability, or with value, low and high."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        """One answer per row, in order: a DataFrame, or what MLflow's server makes of one.

        `params`: `threshold` moves the decision between two classes, `coverage` the intervals
        around amounts, `version` adds the registered model's name and version, `explain` what
        pushed each answer up or down.
        Raises MlflowException: INVALID_PARAMETER_VALUE (HTTP 400) for a row that breaks the
        contract, and then no row is answered; INTERNAL_ERROR (HTTP 500) for what the classifier
        itself raises, which is logged, since MLflow would send the stack trace.
        """
        try:
            asked = self.predictor.params(params or {})
            columns = self.predictor.answers(to_matrix(self.predictor.rules, rows), asked)
        except ContractError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None
        except ModelError as error:
            raise MlflowException(str(error), error_code=INTERNAL_ERROR) from None
        except Exception:
            log.exception("the classifier failed on a request")
            message = "the classifier failed on these rows; the server's log says why"
            raise MlflowException(message, error_code=INTERNAL_ERROR) from None
        if SERVING.get():  # records at once: a frame would take longer than the answer
            return records(columns)
        return pd.DataFrame(columns)


def signature(
    contract: Contract,
    threshold: float | None,
    scores: Sequence[float] = (),
    class_names: Sequence[str] = (),
) -> ModelSignature:
    """The columns of a row, of an answer, and the params of a request."""
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType[kind_of(column).mlflow_type(column)], name, required=not column.optional)
        for name, column in contract.columns.items()
    ]
    target = target_of(contract, threshold, scores)
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType[column.mlflow_type], column.name) for column in target.columns
    ]
    params = [ParamSpec(name, DataType.boolean, False) for name in flags_of(class_names)]
    if target.setting is not None:
        params.append(ParamSpec(target.setting.name, DataType.double, target.setting.default))
    return ModelSignature(Schema(inputs), Schema(outputs), ParamSchema(params))


def save_model(
    path: str,
    mlflow_model: Model,
    model: Any,
    contract: Contract,
    trained: Trained,
    linear: Linear | None = None,
    graph: bytes | None = None,
    profile: str | None = None,
    loader_module: str = __name__,
    **sklearn_options: Any,
) -> None:
    """MLflow's hook for `Model.log(flavor=...)`: the sklearn flavor, then ours over its pyfunc.

    `linear` or `graph` is the model compiled, if it could be; `profile` in JSON says how the
    training part is spread; `loader_module` is this module, by its name in the code that goes
    along.
    """
    mlflow.sklearn.save_model(
        model,
        path,
        mlflow_model=mlflow_model,
        serialization_format="pickle",
        **sklearn_options,
    )
    folder = Path(path)
    model_folder.write(folder, contract, trained, linear, graph)
    if profile is not None:
        (folder / model_folder.PROFILE).write_text(profile, encoding="utf-8")
    example = sklearn_options.get("input_example")
    if example is not None:
        predictor = Predictor(contract, of_estimator(model, contract), trained)
        model_folder.write_example(folder, predictor, example)
    mlflow_model.flavors["python_function"]["loader_module"] = loader_module
    mlflow_model.save(str(folder / "MLmodel"))


def _load_pyfunc(path: str) -> ServedModel:
    """MLflow's hook for `mlflow.pyfunc.load_model` and `mlflow models serve`.

    A model of the registry is held against its manifest there before anything is unpickled.
    """
    folder = Path(path)
    model_version = _model_version(folder)
    promoted = _manifest(model_version)
    try:
        if promoted is None:
            predictor = model_folder.load(folder, model_version)
        else:
            with tempfile.TemporaryDirectory() as copy:
                manifest.copy(folder, promoted, Path(copy))
                predictor = model_folder.load(Path(copy), model_version)
    except ModelError as error:
        raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None
    # What was loaded stays: out of the collector's sight, it no longer delays answers.
    gc.collect()
    gc.freeze()
    return ServedModel(predictor)


def _model_version(folder: Path) -> dict[str, str]:
    """Name and version in the registry, which MLflow leaves beside a model loaded from there."""
    path = folder / manifest.REGISTERED
    meta = yaml.safe_load(path.read_text("utf-8")) if path.exists() else {}
    if meta.get("model_name"):
        return {"model": str(meta["model_name"]), "version": str(meta["model_version"])}
    model_id = Model.load(str(folder)).model_id
    return {"model": str(model_id or folder.name), "version": ""}


def _manifest(model_version: Mapping[str, str]) -> manifest.Manifest | None:
    """The registry's, if the model is of a registry that is within reach and was promoted."""
    name, version = model_version["model"], model_version["version"]
    if not version:
        return None
    promoted = None
    reason = "it was never promoted"
    if not _registry_is_there():
        reason = "its registry is out of reach"
    else:
        try:
            promoted = manifest.from_tags(MlflowClient().get_model_version(name, version).tags)
        except MlflowException as error:
            reason = error.message
    if promoted is None:
        log.warning("%s version %s is not verified: %s", name, version, reason)
    return promoted


def _registry_is_there() -> bool:
    """False in a container of its own, where MLflow would make an empty database."""
    uri = mlflow.get_registry_uri()
    kind, _, path = uri.partition(":///")
    return kind != "sqlite" or Path(path).exists()

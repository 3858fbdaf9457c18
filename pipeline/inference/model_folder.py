"""The files in a model's folder beside MLflow's own: their names, and how they are read.

`served.json` says with what the model was trained and what its answers depend on. Folders of
every earlier format are read; format 0 is that of files without a number.
"""

from __future__ import annotations

import json
import pickle
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.inference import runtimes
from pipeline.inference.predictor import Params, Predictor, Trained, records
from pipeline.inference.runtimes import Linear, Predict
from pipeline.schema.contract import Contract
from pipeline.schema.matrix import Matrix
from pipeline.schema.rules import to_matrix

if TYPE_CHECKING:  # a compiled model does without
    import pandas as pd

FORMAT = 1
CONTRACT = "contract.json"
SERVED = "served.json"
GRAPH = "compiled.onnx"
PICKLE = "model.pkl"
PROFILE = "profile.json"
# MLflow's own serving_input_example.json has NaN for a gap, which is not JSON.
EXAMPLE, EXAMPLE_ANSWER = "request_example.json", "answer_example.json"
LIBRARIES = ("scikit-learn", "numpy")


def write(
    folder: Path, contract: Contract, trained: Trained, linear: Linear | None, graph: bytes | None
) -> None:
    """Writes what `load` reads, but for the pickled classifier."""
    served = {
        "format": FORMAT,
        "threshold": trained.threshold,
        # Of a column of texts null: NaN is no JSON.
        "reference": [None if np.isnan(usual) else usual for usual in trained.reference.tolist()],
        "magnitude": trained.magnitude.tolist(),
        "scores": list(trained.scores),
        "class_names": list(trained.class_names),
        "trained_with": _versions(),
        "linear": asdict(linear) if linear else None,
    }
    (folder / CONTRACT).write_text(contract.model_dump_json(indent=1), encoding="utf-8")
    (folder / SERVED).write_text(json.dumps(served, indent=1), encoding="utf-8")
    if graph is not None:
        (folder / GRAPH).write_bytes(graph)


def write_example(folder: Path, predictor: Predictor, rows: pd.DataFrame) -> None:
    """Writes a request for the rows, and its answer."""
    X = to_matrix(predictor.rules, rows)
    answer = {"predictions": records(predictor.answers(X, Params()))}
    (folder / EXAMPLE).write_text(request(rows), encoding="utf-8")
    (folder / EXAMPLE_ANSWER).write_text(json.dumps(answer, indent=1), encoding="utf-8")


def request(rows: pd.DataFrame) -> str:
    """The body of `POST /invocations` that asks for the rows."""
    cells = rows.astype(object).where(rows.notna(), None)
    return json.dumps({"dataframe_records": cells.to_dict(orient="records")})


def load(
    folder: Path,
    model_version: Mapping[str, str] = MappingProxyType({}),
    unpickle: bool = True,
) -> Predictor:
    """The predictor of a model's folder; unpickles only what is not compiled.

    With `unpickle=False`, not there either: such a predictor has the contract, but no answers.
    Raises ModelError under another Python, scikit-learn or NumPy than the model was trained with,
    and for a format of a later version of this project.
    """
    served = _read_served(folder)
    contract = Contract.model_validate_json((folder / CONTRACT).read_text("utf-8"))
    reference = np.array(served["reference"], dtype=np.float64)
    # Format 0 may lack the magnitude: any number may be too large then.
    magnitude = np.array(served.get("magnitude", np.zeros_like(reference)))
    predict = _compiled_by(folder, served)
    is_compiled = predict is not None
    if predict is None:
        predict = _unpickle(folder, contract) if unpickle else _no_answers
    trained = Trained(
        served["threshold"],
        reference,
        magnitude,
        served.get("scores", ()),
        served.get("class_names", ()),
    )
    predictor = Predictor(contract, predict, trained, model_version)
    predictor.is_compiled = is_compiled
    return predictor


def _read_served(folder: Path) -> dict[str, Any]:
    served: dict[str, Any] = json.loads((folder / SERVED).read_text("utf-8"))
    if served.get("format", 0) > FORMAT:
        raise ModelError(
            f"{SERVED} of the model has the format {served['format']}, and this version of the "
            f"project reads up to {FORMAT}; serve it with the version that trained it, or train "
            "it again"
        )
    _check_versions(served["trained_with"])
    return served


def compiled(folder: Path) -> Predict | None:
    """What the model was compiled to; None where it was not."""
    return _compiled_by(folder, json.loads((folder / SERVED).read_text("utf-8")))


def _compiled_by(folder: Path, served: Mapping[str, Any]) -> Predict | None:
    if served.get("linear"):
        return Linear(**served["linear"]).predict_proba
    return runtimes.of_graph(folder / GRAPH) if (folder / GRAPH).exists() else None


def _unpickle(folder: Path, contract: Contract) -> Predict:
    code = str(folder / "code")
    if code not in sys.path:
        sys.path.append(code)  # modules of the user's; last, or it would hide the project's own
    with (folder / PICKLE).open("rb") as file:
        return runtimes.of_estimator(pickle.load(file), contract)


def _no_answers(_: Matrix) -> Matrix:
    raise RuntimeError("the model was not unpickled")


def _versions() -> dict[str, str]:
    python = ".".join(platform.python_version_tuple()[:2])  # a pickle holds across patches
    return {"Python": python, **{name: version(name) for name in LIBRARIES}}


def _check_versions(trained_with: Mapping[str, str]) -> None:
    installed = _versions()
    differing = [name for name in installed if trained_with.get(name) != installed[name]]
    if differing:
        was = ", ".join(f"{name} {trained_with.get(name)}" for name in differing)
        now = ", ".join(f"{name} {installed[name]}" for name in differing)
        raise ModelError(
            f"the model was trained with {was}, and this is {now}; "
            "serve it from the environment of its requirements.txt, or train it again"
        )

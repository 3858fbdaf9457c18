"""The rule `gate.serve_check`: whether a model answers as it should once it is served."""

from pathlib import Path

import pandas as pd

from pipeline import event_loop
from pipeline.config.sections import Config
from pipeline.errors import ModelError
from pipeline.inference import manifest
from pipeline.inference.predictor import Predictor
from pipeline.inference.runtimes import of_estimator
from pipeline.promotion import http_check, proof
from pipeline.promotion.stored_model import StoredModel
from pipeline.results import RuleResult, Version
from pipeline.server.loaded_model import LoadedModel
from pipeline.tracking import logged_model, model_files, registry

RULE = "gate.serve_check"
RULE_OF_SERVER = "gate.latency"


def of_files(name: str, model: StoredModel, rows: pd.DataFrame) -> RuleResult:
    """Without a version in the registry."""
    version = Version(name, "", "", {}, manifest.of(model.folder))
    return _proven(version, model.folder, model, rows)


def not_of_server() -> RuleResult:
    """In a dry run."""
    message = "not asked in a dry run: a server takes a version of the registry"
    return RuleResult(RULE_OF_SERVER, None, message)


def of_version(name: str, number: str, model: StoredModel, rows: pd.DataFrame) -> RuleResult:
    """Loaded from the registry as the server does."""
    version, address = registry.promoted(name, number)
    with model_files.at(address) as folder:
        return _proven(version, folder, model, rows)


def of_server(config: Config, number: str, model: StoredModel, rows: pd.DataFrame) -> RuleResult:
    """In a real server, over HTTP, and how long that takes."""
    most = config.gate.latency
    try:
        count, difference, seconds = http_check.check(config, number, _original(model), rows)
    except ModelError as error:
        return RuleResult(RULE_OF_SERVER, False, str(error))
    figures = {"seconds": seconds, "requests": float(count)}
    if difference:
        return RuleResult(RULE_OF_SERVER, False, f"over HTTP, {difference}", figures)
    passed = seconds <= most
    sentence = (
        f"over HTTP it answers {count} requests as in the process, 95 % of single rows in "
        f"{seconds * 1000:.2f} ms, {'within' if passed else 'beyond'} {RULE_OF_SERVER} {most:g} s"
    )
    return RuleResult(RULE_OF_SERVER, passed, sentence, figures)


def verify(version: Version, address: str) -> Version:
    """A version, loaded as the server does, that has answered its example. Raises ModelError."""
    with model_files.at(address) as folder:
        loaded = LoadedModel(version, folder, proof.MOST_ROWS)
    try:
        event_loop.run(loaded.warm_up())
    finally:
        loaded.close()
    return version


def _proven(version: Version, folder: Path, model: StoredModel, rows: pd.DataFrame) -> RuleResult:
    try:
        count, difference = proof.prove(version, folder, _original(model), rows)
    except ModelError as error:
        return RuleResult(RULE, False, str(error))
    sentence = f"loaded as both doors do, it answers {count} requests as in the process"
    if difference:
        sentence = f"loaded as both doors do, {difference}"
    return RuleResult(RULE, not difference, sentence, {"requests": float(count)})


def _original(model: StoredModel) -> Predictor:
    """The pipeline that was fitted, in this process."""
    fitted = model.predictor
    predict = of_estimator(logged_model.load(model.folder), fitted.contract)
    return Predictor(fitted.contract, predict, fitted.trained, {})

"""The rule `gate.serve_check`: whether a candidate answers as it should once it is served."""

from pathlib import Path

import pandas as pd

from pipeline.config.sections import Config
from pipeline.errors import ModelError
from pipeline.inference import manifest
from pipeline.inference.predictor import Predictor
from pipeline.inference.runtimes import of_classifier
from pipeline.promotion import http_check as rehearsal
from pipeline.promotion import proof
from pipeline.promotion.challenger import Entrant
from pipeline.results import Ruling, Version
from pipeline.tracking import logged_model, model_files, registry

RULE = "gate.serve_check"
RULE_OF_SERVER = "gate.latency"


def of_files(name: str, entrant: Entrant, rows: pd.DataFrame) -> Ruling:
    """Without a version in the registry."""
    version = Version(name, "", "", {}, manifest.of(entrant.folder))
    return _proven(version, entrant.folder, entrant, rows)


def not_of_server() -> Ruling:
    """In a dry run."""
    told = "not asked in a dry run: a server takes a version of the registry"
    return Ruling(RULE_OF_SERVER, None, told)


def of_version(name: str, number: str, entrant: Entrant, rows: pd.DataFrame) -> Ruling:
    """Loaded from the registry as the server does."""
    version, address = registry.promoted(name, number)
    with model_files.at(address) as folder:
        return _proven(version, folder, entrant, rows)


def of_server(config: Config, number: str, entrant: Entrant, rows: pd.DataFrame) -> Ruling:
    """In a real server, over HTTP, and how long that takes."""
    most = config.gate.latency
    try:
        count, told, seconds = rehearsal.rehearse(config, number, _original(entrant), rows)
    except ModelError as error:
        return Ruling(RULE_OF_SERVER, False, str(error))
    figures = {"seconds": seconds, "requests": float(count)}
    if told:
        return Ruling(RULE_OF_SERVER, False, f"over HTTP, {told}", figures)
    passed = seconds <= most
    sentence = (
        f"over HTTP it answers {count} requests as in the process, 95 % of single rows in "
        f"{seconds * 1000:.2f} ms, {'within' if passed else 'beyond'} {RULE_OF_SERVER} {most:g} s"
    )
    return Ruling(RULE_OF_SERVER, passed, sentence, figures)


def _proven(version: Version, folder: Path, entrant: Entrant, rows: pd.DataFrame) -> Ruling:
    try:
        count, told = proof.prove(version, folder, _original(entrant), rows)
    except ModelError as error:
        return Ruling(RULE, False, str(error))
    sentence = f"loaded as both doors do, it answers {count} requests as in the process"
    if told:
        sentence = f"loaded as both doors do, {told}"
    return Ruling(RULE, not told, sentence, {"requests": float(count)})


def _original(entrant: Entrant) -> Predictor:
    """The pipeline that was fitted, in this process."""
    served = entrant.scorer
    predict = of_classifier(logged_model.load(entrant.folder), served.contract)
    return Predictor(served.contract, predict, served.trained, {})

"""The finished evaluations of the tracking store whose models may become champion."""

from collections.abc import Mapping

from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from pipeline import tracking
from pipeline.errors import RegistryError
from pipeline.records import DIGESTS, digests
from pipeline.results import Candidate, Dataset

SPLIT = "split.seed, split.test_size and split.stratify"
EVALUATED = f"tags.{tracking.STEP} = 'evaluate'"


def of_experiment(model: str, evaluated: Run) -> list[Candidate]:
    """Those of the active experiment for the registered model on the same table and split.

    The latest comes first; the evaluation in hand is always among them.
    """
    found = _on({name: evaluated.data.tags[name] for name in DIGESTS})
    own = [run for run in found if run.data.tags["registered_model"] == model]
    runs = {run.info.run_id: run for run in own}
    runs.setdefault(evaluated.info.run_id, evaluated)
    return [_candidate(run) for run in runs.values()]


def judged(dataset: Dataset) -> int:
    """How many models of the active experiment the same test part has judged."""
    return len({run.data.tags["model_id"] for run in _on(digests(dataset))})


def _on(rows: Mapping[str, str]) -> list[Run]:
    """The experiment's finished evaluations on a table and a split."""
    same = " and ".join(f"tags.{name} = '{text}'" for name, text in rows.items())
    return [run for run in tracking.search(f"{EVALUATED} and {same}") if _is_complete(run)]


def of_run(run_id: str) -> Candidate:
    """That of a parent run, or of the evaluation itself. Raises RegistryError if there is none."""
    run = tracking.find_run(run_id)
    if run is None:
        raise RegistryError(
            f"run {run_id!r} is not in the tracking store; the UI (`mlflow ui`) shows the ids"
        )
    evaluated = [run]
    if run.data.tags.get(tracking.STEP) != "evaluate":
        model = f"tags.model_id = '{run.data.tags.get('model_id', '')}'"
        evaluated = tracking.search(f"{EVALUATED} and {model}", experiment=run.info.experiment_id)
    complete = [run for run in evaluated if _is_complete(run)]
    if not complete:
        raise RegistryError(
            f"run {run_id!r} has no finished evaluation of a model; name a parent run (of the verb "
            "run, evaluate or promote) that came to its end, or its step evaluate"
        )
    return _candidate(complete[0])


def check(candidate: Candidate, dataset: Dataset) -> None:
    """Raises RegistryError for a candidate of another table or split than the config's."""
    here = digests(dataset)
    for name, setting in zip(DIGESTS, ("data.source", SPLIT), strict=True):
        if candidate.digests[name] != here[name]:
            raise RegistryError(
                f"run {candidate.run_id!r} has the {name} {candidate.digests[name][:12]}, and "
                f"{setting} here give {here[name][:12]}: its test part cannot be judged "
                "afresh; name the config and the options of that run"
            )


def _is_complete(run: Run) -> bool:
    return tracking.FINGERPRINT in run.data.tags


def _candidate(evaluated: Run) -> Candidate:
    tags = evaluated.data.tags
    return Candidate(
        run_id=tags[MLFLOW_PARENT_RUN_ID],
        model_id=tags["model_id"],
        metrics=dict(evaluated.data.metrics),
        params=dict(evaluated.data.params),
        digests={name: tags[name] for name in DIGESTS},
    )

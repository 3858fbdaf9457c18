"""What the gate looks at: candidate and champion asked afresh."""

import hashlib

import numpy as np
from mlflow.entities.model_registry import ModelVersion

from pipeline import gate, metrics
from pipeline.config import Config
from pipeline.errors import ContractError, ModelError, RegistryError
from pipeline.gate import Duel, Exam
from pipeline.metrics import Predictions
from pipeline.promotion import contest
from pipeline.promotion.contest import Entrant
from pipeline.results import Candidate, Dataset, Probabilities


def examine(
    config: Config,
    dataset: Dataset,
    candidate: Candidate,
    entrant: Entrant,
    champion: ModelVersion | None,
) -> Exam:
    """The candidate on its test part, and beside the champion on what neither was trained on."""
    return Exam(
        logged=gate.tested(candidate.metrics),
        predictions=entrant.ask(dataset.X_test, dataset.y_test),
        dummy=_dummy(dataset),
        X=dataset.X_test,
        duel=None if champion is None else _duel(config, dataset, candidate, entrant, champion),
    )


def _duel(
    config: Config, dataset: Dataset, candidate: Candidate, entrant: Entrant, champion: ModelVersion
) -> Duel | str:
    """The duel, or why there can be none."""
    number = str(champion.version)
    try:
        with contest.of_version(champion.name, number) as holder:
            where = contest.unseen(dataset, [entrant, holder])
            X, y = dataset.X[where], dataset.y[where]
            first, second = entrant.ask(X, y), holder.ask(X, y)
    except (ContractError, ModelError, RegistryError) as error:
        return str(error)
    known = champion.tags.get(name := f"cv/{config.gate.primary}")
    is_same = contest.same_rows(dataset, holder) and known is not None
    return Duel(
        champion=number,
        first=first,
        second=second,
        rows_digest=hashlib.sha256(np.flatnonzero(where).astype("<i8").tobytes()).hexdigest(),
        cross_validated=(candidate.metrics[name], float(known)) if is_same and known else None,
    )


def _dummy(dataset: Dataset) -> Predictions:
    """The shares of the classes in the training part, for every row."""
    shares = dataset.y_train.value_counts(normalize=True).reindex(dataset.contract.classes)
    probabilities: Probabilities = np.tile(
        shares.to_numpy(dtype=np.float64), (len(dataset.X_test), 1)
    )
    return metrics.of_rows(dataset.contract, dataset.y_test, probabilities, None)

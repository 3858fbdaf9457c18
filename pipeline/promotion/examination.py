"""What the gate looks at: candidate and champion asked afresh."""

import hashlib
from dataclasses import replace

import numpy as np
from mlflow.entities.model_registry import ModelVersion
from sklearn.dummy import DummyClassifier

from pipeline.config.sections import Config
from pipeline.errors import ContractError, ModelError, RegistryError
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Predictions
from pipeline.promotion import challenger as contest
from pipeline.promotion import gate
from pipeline.promotion.challenger import Entrant
from pipeline.promotion.gate import Duel, Exam
from pipeline.results import Dataset


def examine(
    config: Config, dataset: Dataset, candidate: Entrant, champion: ModelVersion | None
) -> Exam:
    """The candidate on its test part, and beside the champion on what neither was trained on."""
    exam = Exam(
        logged=gate.tested(candidate.metrics),
        predictions=candidate.ask(dataset.X_test, dataset.y_test),
        dummy=_dummy(dataset),
        X=dataset.X_test,
        duel=None,
        classes=dataset.contract.classes,
    )
    if champion is None:
        return exam
    try:
        with contest.of_version(champion) as holder:
            return replace(exam, duel=_duel(config, dataset, candidate, holder, exam))
    except (ContractError, ModelError, RegistryError) as error:
        return replace(exam, duel=str(error))


def _duel(
    config: Config, dataset: Dataset, candidate: Entrant, champion: Entrant, exam: Exam
) -> Duel:
    """Raises ContractError if there can be none."""
    where = contest.unseen(dataset, [candidate, champion])
    if np.array_equal(where, contest.test_part(dataset)):
        first, X, y = exam.predictions, dataset.X_test, dataset.y_test
    else:
        X, y = dataset.X[where], dataset.y[where]
        first = candidate.ask(X, y)
    return Duel(
        champion=champion.shown,
        first=first,
        second=champion.ask(X, y),
        rows_digest=hashlib.sha256(np.flatnonzero(where).astype("<i8").tobytes()).hexdigest(),
        cross_validated=_cross_validated(f"cv/{config.gate.primary}", dataset, candidate, champion),
    )


def _cross_validated(
    name: str, dataset: Dataset, candidate: Entrant, champion: Entrant
) -> tuple[float, float] | None:
    """Of both, if that is of the same rows."""
    if not contest.same_rows(dataset, champion) or name not in champion.metrics:
        return None
    return candidate.metrics[name], champion.metrics[name]


def _dummy(dataset: Dataset) -> Predictions:
    """The shares of the classes in the training part, for every row."""
    model = DummyClassifier(strategy="prior").fit(dataset.X_train, dataset.y_train)
    return metrics.predict(dataset, model, None)

"""What the frameworks' doors share: the unpickled model and its answers.

As quick as it goes without leaving scikit-learn: rows as an array, since a data frame of one row
takes longer than a linear model, and one call of `predict_proba` a request, since `predict`
beside it would compute all of it again.
"""

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from doors import MODEL


def load() -> Any:
    """The fitted classifier; its positive class is 1."""
    warnings.filterwarnings("ignore", "X does not have valid feature names")
    return pickle.loads(Path(os.environ[MODEL]).read_bytes())


def answer(model: Any, records: list[dict[str, float | None]]) -> list[dict[str, float]]:
    """A label and a probability a row."""
    names = model.feature_names_in_.tolist()
    X = np.array([[record[name] for name in names] for record in records], dtype=float)
    probabilities = model.predict_proba(X)[:, 1]
    labels = (probabilities >= model.threshold).astype(int)
    pairs = zip(labels.tolist(), probabilities.tolist(), strict=True)
    return [{"label": label, "probability": probability} for label, probability in pairs]

"""The steps of a pipeline before its classifier."""

from collections.abc import Callable
from typing import Any

from sklearn.impute import SimpleImputer
from sklearn.preprocessing import PowerTransformer, StandardScaler


def impute() -> SimpleImputer:
    """The median of the training rows in place of a missing value."""
    return SimpleImputer(strategy="median", keep_empty_features=True)


ENCODERS: dict[str, Callable[[], Any]] = {  # by their names in `preprocessing`
    "impute": impute,
    "scale": StandardScaler,
    "power": PowerTransformer,
}

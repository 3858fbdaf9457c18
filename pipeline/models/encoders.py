"""What stands before the last step of a pipeline: numbers, dates, categories and texts made ready.

Stock scikit-learn and NumPy only, so that the pickled model loads wherever those are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import pi
from operator import methodcaller
from types import MappingProxyType
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PowerTransformer,
    StandardScaler,
    TargetEncoder,
)

from pipeline.schema.coded import Category
from pipeline.schema.contract import Contract

MOST_ONE_HOT = 40  # levels of a category that are told apart one by one; past that, by the target
MOST_NATIVE = 250  # levels that histogram gradient boosting takes as they are (it has 255 bins)
RARE = 10  # rows: levels with fewer are one
WEEK, YEAR = 7.0, 365.2425  # days
DECIMALS = 6
N_GRAMS = (3, 4)  # characters, within words
BUCKETS = 2**14  # of their hashes: the fitted encoder has the same size whatever the texts
TOPICS = 30  # columns that come of a text
INNER_FOLDS = 3  # each training part has three rows of a class
ROLES: Mapping[str, str] = MappingProxyType(  # of a kind of column, for those who learn from it
    {
        "number": "number",
        "integer": "number",
        "boolean": "number",
        "ordinal": "number",
        "category": "category",
        "date": "date",
        "text": "text",
    }
)
Steps = list[Any]


@dataclass(frozen=True)
class Features:
    """The columns of a matrix by their role, and the levels of each category."""

    numbers: tuple[str, ...]
    dates: tuple[str, ...]
    texts: tuple[str, ...]
    categories: Mapping[str, int]  # number of levels
    is_amount: bool = False  # what is learnt from them

    @classmethod
    def of(cls, contract: Contract) -> "Features":
        """As the contract has them."""
        columns = contract.columns.items()
        numbers, dates, texts = (
            tuple(name for name, column in columns if ROLES[column.kind] == role)
            for role in ("number", "date", "text")
        )
        return cls(
            numbers=numbers,
            dates=dates,
            texts=texts,
            categories={
                name: len(Category().values(column))
                for name, column in columns
                if column.kind == "category"
            },
            is_amount=not contract.classes,
        )

    @property
    def are_numbers(self) -> bool:
        """Whether there is nothing else."""
        return not (self.dates or self.texts or self.categories)

    def with_at_most(self, levels: int) -> list[str]:
        """The categories of no more levels than that."""
        return [name for name, count in self.categories.items() if count <= levels]

    def with_more_than(self, levels: int) -> list[str]:
        """The other categories."""
        return [name for name, count in self.categories.items() if count > levels]


NUMBERS = Features((), (), (), {})  # nothing but numbers, whatever their names


def impute() -> SimpleImputer:
    """The median of the training rows in place of a missing value."""
    return SimpleImputer(strategy="median", keep_empty_features=True)


ENCODERS: dict[str, Callable[[], Any]] = {  # by their names in `preprocessing`
    "impute": impute,
    "scale": StandardScaler,
    "power": PowerTransformer,
}


def encoded(features: Features, steps: Steps, seed: int) -> Steps:
    """The steps for numbers, beside the encoders of the other columns where there are any.

    Categories are one column per level, rare levels together, and past 40 levels the mean of the
    target (Micci-Barreca 2001), cross-fitted by scikit-learn. Texts are 30 columns each.
    """
    if features.are_numbers:
        return steps
    parts = [
        ("numbers", make_pipeline(*steps), list(features.numbers)),
        ("dates", make_pipeline(date_parts(), *steps), list(features.dates)),
        ("levels", one_hot(), features.with_at_most(MOST_ONE_HOT)),
        (
            "targets",
            make_pipeline(by_target(features, seed), StandardScaler()),
            features.with_more_than(MOST_ONE_HOT),
        ),
        *_text_parts(features, seed),
    ]
    return [ColumnTransformer([part for part in parts if part[2]])]


def native(features: Features, seed: int) -> tuple[Steps, list[int] | None]:
    """The steps before histogram gradient boosting, and the places of categories behind them."""
    many = features.with_more_than(MOST_NATIVE)
    few = features.with_at_most(MOST_NATIVE)
    if features.are_numbers:
        return [], None
    parts = [
        ("levels", "passthrough", few),
        ("numbers", "passthrough", list(features.numbers)),
        ("dates", date_parts(), list(features.dates)),
        ("targets", by_target(features, seed), many),
        *_text_parts(features, seed),
    ]
    places = list(range(len(few))) or None
    return [ColumnTransformer([part for part in parts if part[2]])], places


def one_hot() -> OneHotEncoder:
    """One column per level; rare levels share one, in which levels without rows fall too."""
    return OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=RARE, sparse_output=False
    )


def by_target(features: Features, seed: int) -> TargetEncoder:
    """The shrunk mean of the target among a level's rows; in training those of other folds."""
    if features.is_amount:  # scikit-learn takes whole ones for classes
        folds = KFold(INNER_FOLDS, shuffle=True, random_state=seed)
        return TargetEncoder(target_type="continuous", cv=folds)
    return TargetEncoder(cv=StratifiedKFold(INNER_FOLDS, shuffle=True, random_state=seed))


def topics(seed: int) -> Pipeline:
    """Latent semantic analysis (Deerwester et al. 1990) of the n-grams of a series of texts.

    Hashed, so that a fold without any text is no error, and the model's file holds no word of them.
    As skrub's StringEncoder, but with no package that the served model would need besides, and
    with no warning where a fold has fewer rows than columns come of a text.
    """
    return make_pipeline(
        FunctionTransformer(methodcaller("fillna", "")),
        HashingVectorizer(analyzer="char_wb", ngram_range=N_GRAMS, n_features=BUCKETS),
        TfidfTransformer(),
        TruncatedSVD(TOPICS, random_state=seed),
    )


def _text_parts(features: Features, seed: int) -> Steps:
    """A part for each column of texts: what counts n-grams takes one series of them."""
    return [(f"text_{place}", topics(seed), name) for place, name in enumerate(features.texts)]


def date_parts() -> FeatureUnion:
    """Days since 1970, and where in the week and in the year a day lies, as points on circles.

    Rounded, or trees would split between two Mondays by the last bit of their sines.
    """
    parts = [
        (f"{name}_{function.__name__}", _turns(days, function))
        for name, days in (("week", WEEK), ("year", YEAR))
        for function in (np.sin, np.cos)
    ]
    return FeatureUnion([("elapsed", FunctionTransformer()), *parts])


def _turns(days: float, function: Any) -> Any:
    calls = (partial(np.multiply, 2 * pi / days), function, partial(np.round, decimals=DECIMALS))
    return make_pipeline(*map(FunctionTransformer, calls))

"""A small table with columns of each kind, and its data set."""

from functools import cache

import numpy as np
import pandas as pd

from pipeline.config.sections import Config, Data, Registry, Split
from pipeline.config.tune import Tune
from pipeline.datasets.dataset import build_dataset
from pipeline.results import Dataset
from pipeline.schema.columns import (
    AnyColumn,
    BooleanColumn,
    CategoryColumn,
    DateColumn,
    IntegerColumn,
    NumberColumn,
    OrdinalColumn,
    TextColumn,
)

KINDS: dict[str, AnyColumn] = {
    "city": CategoryColumn(),
    "number": NumberColumn(range=(-50, 200)),
    "shop": CategoryColumn(unseen="refuse"),
    "since": DateColumn(),
    "size": OrdinalColumn(levels=("s", "m", "l")),
    "is_new": BooleanColumn(),
    "visits": IntegerColumn(range=(0, 99)),
}
TEXTS: dict[str, AnyColumn] = {"note": TextColumn()}  # beside those: what is not compiled
SAID = {"yes": ["never arrived", "is broken again"], "no": ["works very well", "came in time"]}


def make_mixed_table(rows: int = 300, seed: int = 0) -> pd.DataFrame:
    """Each column but the shop goes with the label; all have gaps, as CSV gives them."""
    rng = np.random.default_rng(seed)
    cities = ["Rome", "NA", "01", "Oslo", "rare"]
    days = rng.integers(15_000, 19_000, rows)
    table = pd.DataFrame(
        {
            "city": rng.choice(cities, rows, p=[0.3, 0.3, 0.2, 0.19, 0.01]),
            "number": rng.normal(40, 15, rows).round(1),
            "shop": [f"s{number}" for number in rng.integers(0, 60, rows)],
            "since": pd.to_datetime(days, unit="D").strftime("%Y-%m-%d"),
            "size": rng.choice(["s", "m", "l"], rows),
            "is_new": rng.choice(["true", "false"], rows),
            "visits": rng.poisson(3, rows),
        }
    )
    odds = (
        (table["city"] == "Rome") * 1.5
        + (table["number"] - 40) / 15
        + (table["size"] == "l") * 1.0
        - (table["is_new"] == "true") * 0.7
        + (days - 17_000) / 1500
    )
    table["label"] = np.where(odds + rng.logistic(size=rows) > 0.5, "yes", "no")
    table = table.astype(pd.StringDtype("pyarrow", na_value=np.nan))  # `str`, of pandas 2 too
    for name in KINDS:
        table.loc[rng.random(rows) < 0.05, name] = None
    said = [rng.choice(SAID[label]) for label in table["label"].where(rng.random(rows) < 0.8, "no")]
    table["note"] = [f"Order {place % 250}:\nit {one}" for place, one in enumerate(said)]
    table.loc[rng.random(rows) < 0.05, "note"] = ""
    return table


@cache
def make_mixed_dataset(classes: int = 2, with_texts: bool = False) -> Dataset:
    """Of two classes, or of three; if wanted with a column of texts beside the others."""
    table = make_mixed_table()
    columns = KINDS | TEXTS if with_texts else KINDS
    table = table[[*columns, "label"]]
    if classes > 2:
        table["label"] = table["label"].mask(table["size"] == "s", "maybe")
    config = Config(
        data=Data(
            source="mixed.csv",
            target="label",
            positive="yes" if classes == 2 else None,
            columns=columns,
        ),
        split=Split(seed=0),
        tune=Tune(folds=3),
        registry=Registry(model="mixed"),
    )
    return build_dataset(config, table, "digest")

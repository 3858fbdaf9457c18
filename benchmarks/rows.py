"""The Pima table as configs/pima.yaml has it: zeros that mark a gap, and the same two parts."""

from typing import Any

import numpy as np
import pandas as pd

TARGET = "Outcome"
MARKED = ["Glucose", "BloodPressure", "SkinThickness", "Insulin", "BMI"]  # 0 is a missing value
TEST_SIZE = 0.3
SEED = 1


def read(path: str) -> pd.DataFrame:
    """The table with NaN where a zero marks a missing value."""
    table = pd.read_csv(path)
    features = table.columns.drop(TARGET)
    table[features] = table[features].astype(float)
    table[MARKED] = table[MARKED].replace(0, np.nan)
    return table


def split(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The training and the test part."""
    from sklearn.model_selection import train_test_split  # takes a second; not all callers split

    return train_test_split(table, test_size=TEST_SIZE, random_state=SEED, stratify=table[TARGET])


def X_y(part: pd.DataFrame) -> tuple[pd.DataFrame, "pd.Series[Any]"]:
    """Features and labels."""
    return part.drop(columns=TARGET), part[TARGET]

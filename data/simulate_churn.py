"""Makes `churn.csv`: customers of a telephone company, all of them invented.

python data/simulate_churn.py > data/churn.csv
"""

import sys

import numpy as np
import pandas as pd

ROWS = 1200
SEED = 2024


def simulate(rows: int = ROWS, seed: int = SEED) -> pd.DataFrame:
    """A row per customer; whether they left follows from the columns, and from chance."""
    rng = np.random.default_rng(seed)
    since = pd.Timestamp("2024-06-30") - pd.to_timedelta(rng.integers(10, 2000, rows), unit="D")
    table = pd.DataFrame(
        {
            "customer": [f"C{number:05d}" for number in rng.permutation(90_000)[:rows]],
            "region": rng.choice(["EMEA", "NA", "LATAM", "APAC"], rows, p=[0.4, 0.3, 0.2, 0.1]),
            "tariff": rng.choice(["01", "02", "07", "10"], rows, p=[0.5, 0.3, 0.15, 0.05]),
            "satisfaction": rng.choice(["low", "medium", "high"], rows, p=[0.2, 0.5, 0.3]),
            "roaming": rng.choice(["true", "false"], rows, p=[0.3, 0.7]),
            "since": since.strftime("%d.%m.%Y"),
            "calls_to_support": rng.poisson(1.5, rows).astype(str),
            "monthly_bill": np.round(rng.gamma(4, 9, rows), 2).astype(str),
            "country": "all",
        }
    )
    odds = (
        -1.6
        + table["region"].map({"EMEA": 0.0, "NA": 0.9, "LATAM": -0.4, "APAC": 0.3})
        + table["tariff"].map({"01": 0.0, "02": -0.6, "07": 1.2, "10": 0.2})
        + table["satisfaction"].map({"low": 1.4, "medium": 0.0, "high": -1.1})
        + 0.35 * table["calls_to_support"].astype(float)
        + 0.02 * (table["monthly_bill"].astype(float) - 36)
        - 0.0006 * (pd.Timestamp("2024-06-30") - since).days
    )
    table["left"] = np.where(rng.random(rows) < 1 / (1 + np.exp(-odds)), "yes", "no")
    table.loc[rng.random(rows) < 0.06, "monthly_bill"] = "?"
    for name in ("satisfaction", "roaming"):
        table.loc[rng.random(rows) < 0.04, name] = ""
    return table


if __name__ == "__main__":
    simulate().to_csv(sys.stdout, index=False)

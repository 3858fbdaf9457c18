"""Reads the table, marks what is missing, splits it."""

import mlflow
import rows
from tables import log_table, options


def main() -> None:
    """Leaves the parts as CSV files."""
    given = options("table")
    with mlflow.start_run(run_name="ingest"):
        mlflow.log_param("test_size", rows.TEST_SIZE)
        mlflow.log_param("split_seed", rows.SEED)
        train, test = rows.split(rows.read(given.table))
        mlflow.log_metric("rows_train", len(train))
        mlflow.log_metric("rows_test", len(test))
        log_table(train, "train.csv")
        log_table(test, "test.csv")


if __name__ == "__main__":
    main()

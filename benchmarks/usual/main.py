"""The usual multi-step MLflow project: each step is a project run in a process of its own."""

import mlflow
from tables import options


def main() -> None:
    """Runs the steps in turn; each gets the run ids of those that it reads from."""
    given = options("table", "plan")
    with mlflow.start_run(run_name="main"):
        ingest_run = _run("ingest", table=given.table)
        _run("analyze", ingest_run=ingest_run)
        tune_run = _run("tune", ingest_run=ingest_run, plan=given.plan)
        train_run = _run("train", ingest_run=ingest_run, tune_run=tune_run, plan=given.plan)
        _run("evaluate", ingest_run=ingest_run, train_run=train_run)


def _run(entry_point: str, **parameters: str) -> str:
    """The run id of the step, when it has ended."""
    submitted = mlflow.run(
        ".", entry_point, parameters=parameters, env_manager="local", synchronous=True
    )
    return str(submitted.run_id)


if __name__ == "__main__":
    main()

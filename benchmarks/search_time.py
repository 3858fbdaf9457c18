"""Times the search on the Pima table: workers, logging, TPE, and what a kill costs."""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SECTIONS = ("workers", "randomized", "logging", "long", "kill")


def main() -> None:
    """Prints the tables; each number comes from a process of its own."""
    options = _options()
    if options.child:
        print(json.dumps(CHILDREN[options.child](options.argument)))
        return
    for section in options.only:
        print(f"\n== {section}")
        SHOWN[section](options.rounds)


def _show_workers(rounds: int) -> None:
    """The same 48 trials, with TPE and without MLflow, the workers' start included.

    The command starts its workers while it imports MLflow; `cold` starts them with the search.
    """
    cores = str(len(os.sched_getaffinity(0)))
    contenders = {
        "one at a time": ("search", "1"),
        f"{cores} workers, cold": ("search", cores),
        f"{cores} workers, as the command does": ("warm", cores),
    }
    found = _side_by_side(rounds, contenders)
    base = found["one at a time"]
    for name, results in found.items():
        ratios = [one["seconds"] / two["seconds"] for one, two in zip(base, results, strict=True)]
        _row(name, results, f"{statistics.median(ratios):.2f} times as fast as one")
    losses = {tuple(result["losses"]) for results in found.values() for result in results}
    apart = max(
        abs(a - b) for one in losses for two in losses for a, b in zip(one, two, strict=True)
    )
    print(f"losses differ by {apart:.1e} at most over {len(base[0]['losses'])} trials")


def _show_randomized(rounds: int) -> None:
    """Trials a second beside RandomizedSearchCV(n_jobs=-1) of the same configurations."""
    plan = _child("search", str(len(os.sched_getaffinity(0))))["trials"]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(plan, file)
        file.flush()
        contenders = {
            "tune, with TPE and MLflow": ("tune", "48"),
            "tune, with TPE, no MLflow": ("search", str(len(os.sched_getaffinity(0)))),
            "RandomizedSearchCV(n_jobs=-1)": ("randomized", file.name),
        }
        found = _side_by_side(rounds, contenders)
    peer = found["RandomizedSearchCV(n_jobs=-1)"]
    for name, results in found.items():
        ratios = [two["seconds"] / one["seconds"] for one, two in zip(results, peer, strict=True)]
        rate = len(plan) / statistics.median(result["seconds"] for result in results)
        _row(name, results, f"{rate:.2f} trials/s, {statistics.median(ratios):.2f} of its rate")


def _show_logging(rounds: int) -> None:
    """Milliseconds that one trial's run takes of the process that feeds the workers."""
    results = [_child("tune", "48") for _ in range(rounds)]
    for name in ("recording", "recording with predictions"):
        values = [1000 * value for result in results for value in result[name]]
        print(f"{name:<38}{statistics.median(values):8.1f} ms (median of {len(values)})")


def _show_long(rounds: int) -> None:
    """500 evaluations with MLflow, and the share of TPE in them."""
    results = [_child("tune", "500") for _ in range(rounds)]
    shares = [result["tpe"] / result["seconds"] for result in results]
    _row("500 evaluations", results, f"{statistics.median(shares):.0%} of it in TPE")
    each = [1000 * result["tpe"] / 494 for result in results]
    print(f"a suggestion of TPE: {statistics.median(each):.1f} ms on average")


def _show_kill(rounds: int) -> None:
    """Trials that are run twice when the whole process group is killed in the midst."""
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(_kill_and_go_on(Path(folder))))


def _kill_and_go_on(folder: Path) -> dict[str, int]:
    from mlflow import MlflowClient

    address = f"sqlite:///{folder}/mlflow.db"
    environment = {**_environment(), "MLFLOW_TRACKING_URI": address}
    command = [sys.executable, "-m", "pipeline", "tune"]

    def numbers() -> list[int]:
        runs = MlflowClient(address).search_runs(["0"], "tags.step = 'trial'", max_results=1000)
        return [int(run.data.tags["trial"]) for run in runs if "seconds" in run.data.metrics]

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **quiet)
    while not (folder / "mlflow.db").exists():
        time.sleep(0.1)
    time.sleep(2)  # its tables
    while len(numbers()) < 16:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = len(numbers())
    subprocess.run(command, cwd=ROOT, env=environment, check=True, **quiet)
    after = numbers()
    return {
        "before the kill": before,
        "in all": len(after),
        "repeated": len(after) - len(set(after)),
    }


def _side_by_side(
    rounds: int, contenders: dict[str, tuple[str, str]]
) -> dict[str, list[dict[str, Any]]]:
    """Round by round, after one that is not counted."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, command in contenders.items():
            result = _child(*command)
            if number:
                found[name].append(result)
    return found


def _row(name: str, results: Sequence[dict[str, Any]], told: str) -> None:
    seconds = [result["seconds"] for result in results]
    shown = f"{statistics.median(seconds):8.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"
    print(f"{name:<38}{shown}  {told}")


def _child(name: str, argument: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--child", name, "--argument", argument],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _environment() -> dict[str, str]:
    """One thread for BLAS and OpenMP, as the pipeline has it; nothing set for MLflow."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return {**kept, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": str(ROOT)}


# What a child process measures. The imports of the search are done before the clock starts.


def _prepared(overrides: dict[str, str]) -> tuple[Any, Any]:
    from pipeline.config.load import load
    from pipeline.datasets.sources import open_source
    from pipeline.steps.ingest import ingest

    config = load("configs/pima.yaml", overrides)
    return config, ingest(config, open_source(config.data))


def _warm(count: str) -> dict[str, Any]:
    """As `_search`, with the imports of the flow after the start of the workers."""
    from pipeline.config.tune import Tune
    from pipeline.tuning import worker_pool as workers

    workers.warm_up(Tune(parallelism=int(count)))
    import pipeline.flow  # noqa: F401

    return _search(count)


def _search(count: str) -> dict[str, Any]:
    """The tune step without MLflow."""
    from pipeline.steps.tune import tune

    config, dataset = _prepared({"tune.parallelism": count})
    start = time.perf_counter()
    tuning = tune(config, dataset)
    return _result(time.perf_counter() - start, tuning)


def _tune(evaluations: str) -> dict[str, Any]:
    """The tune step with its runs in an empty store, as the flow has it."""
    with _store():
        from hyperopt import tpe

        from pipeline.steps.tune import tune
        from pipeline.tracking import runs as tracking
        from pipeline.tracking import trial_runs

        config, dataset = _prepared({"tune.max_evals": evaluations})
        spent: dict[str, list[float]] = {"tpe": [], "kept": [], "light": []}
        tpe.suggest = _timed(tpe.suggest, lambda *_: spent["tpe"])
        with tracking.parent_run("tune", "search"), tracking.step_run("tune") as run_id:
            record = partial(trial_runs.record, run_id, "search")
            record = _timed(record, lambda _, kept: spent["light" if kept is None else "kept"])
            start = time.perf_counter()
            tuning = tune(config, dataset, record)
            seconds = time.perf_counter() - start
    return {
        **_result(seconds, tuning),
        "tpe": sum(spent["tpe"]),
        "recording": spent["light"],
        "recording with predictions": spent["kept"],
    }


def _randomized(plan: str) -> dict[str, Any]:
    """The trials of the plan by scikit-learn, on the same folds with the same metrics."""
    import warnings

    from sklearn.model_selection import RandomizedSearchCV
    from sklearn.pipeline import Pipeline

    from pipeline.evaluation.cross_validation import make_folds
    from pipeline.models import families as models

    config, dataset = _prepared({})
    trials = json.loads(Path(plan).read_text())
    tune = config.tune
    each = [{"model": [models.build(family, params, tune.seed)]} for family, params in trials]
    search = RandomizedSearchCV(
        Pipeline([("model", models.plain())]),
        each,
        n_iter=len(each),
        scoring=["neg_log_loss", "roc_auc", "neg_brier_score", "accuracy"],
        refit=False,
        n_jobs=-1,
        cv=make_folds(dataset.contract.task, dataset.y_train, tune.folds, tune.seed),
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        search.fit(dataset.X_train, dataset.y_train)
        seconds = time.perf_counter() - start
    losses = sorted((-search.cv_results_["mean_test_neg_log_loss"]).tolist())
    return {"seconds": seconds, "losses": losses}


def _result(seconds: float, tuning: Any) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "losses": [trial.loss for trial in tuning.trials if not trial.error],
        "trials": [(trial.family, trial.params) for trial in tuning.trials],
    }


def _timed(function: Callable[..., Any], place: Callable[..., list[float]]) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            place(*arguments).append(time.perf_counter() - start)

    return timed


@contextmanager
def _store() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        here = os.getcwd()
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(here)


CHILDREN = {"search": _search, "warm": _warm, "tune": _tune, "randomized": _randomized}
SHOWN = {
    "workers": _show_workers,
    "randomized": _show_randomized,
    "logging": _show_logging,
    "long": _show_long,
    "kill": _show_kill,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=SECTIONS, help=", ".join(SECTIONS)
    )
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    parser.add_argument("--argument", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""The finished evaluations of the tracking store whose models may become champion.

There may be thousands, and to read one takes the store some milliseconds: they are read only as far
as a choice needs them.
"""

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import inf, isnan, nextafter
from typing import Any

from mlflow.entities import Run
from mlflow.store.entities import PagedList
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from pipeline.errors import RegistryError
from pipeline.results import DIGESTS, Candidate, Count, Dataset, cv_loss
from pipeline.tasks import METRICS
from pipeline.tracking import runs

EVALUATED = f"tags.{runs.STEP} = 'evaluate'"
PAGE = 100  # evaluations that are read at once
# The best of candidates, the latest first, and why; given whether these are all that there are.
Select = Callable[[Sequence[Candidate], bool], tuple[Candidate | None, str]]


class Candidates:
    """Those of a promotion: the latest are read, and the best when a choice needs them."""

    def __init__(
        self,
        primary: str,
        evaluations: Sequence[Run],
        rest: str | None = None,
        reused: Run | None = None,
    ) -> None:
        """`evaluations` are the latest of those that `rest` searches for, or all if it is None.

        `reused` is one that counts though `rest` does not find it, as the earliest of equals.
        """
        self._primary = primary
        self._rest = rest
        self._last = reused.info.run_id if reused else ""
        self._evaluations: dict[str, Run] = {}
        self._add([*evaluations, *([reused] if reused else [])])
        self._pages: Iterator[PagedList[Run]] | None = None
        self._bound: float | None = None  # of the loss, in the pages
        self._covered = -inf  # every evaluation with a lower loss has been read

    def latest(self) -> Candidate:
        """The latest, which is the only one of a run."""
        return self._candidates()[0]

    def choose(
        self, select: Select, excluded: Collection[str] = ()
    ) -> tuple[Candidate | None, str]:
        """What `select` says of all candidates but those of the excluded parent runs."""
        while True:
            left = [one for one in self._candidates() if one.run_id not in excluded]
            best, choice = select(left, self._rest is None)
            least = inf if best is None else cv_loss(self._primary, best.metrics)
            if self._rest is None or least < self._covered:
                return best, choice
            self._read(self._rest, least)

    def has_other_than(self, excluded: Collection[str]) -> bool:
        """Whether there is a candidate besides those of the parent runs."""
        while all(one.run_id in excluded for one in self._candidates()):
            if self._rest is None:
                return False
            self._read(self._rest, inf)
        return True

    def _candidates(self) -> list[Candidate]:
        """The latest first, as MLflow orders them."""

        def place(run: Run) -> tuple[bool, int, str]:
            return run.info.run_id == self._last, -run.info.start_time, run.info.run_id

        return [candidate(run) for run in sorted(self._evaluations.values(), key=place)]

    def _read(self, rest: str, least: float) -> None:
        """One more page: of those whose loss is at most the least so far, then of all others."""
        if self._pages is None:
            self._bound = least if self._bound is None else inf
            self._pages = _ranked(self._primary, rest, self._bound)
        page = next(self._pages)
        self._add(page)
        lowest = cv_loss(self._primary, page[-1].data.metrics) if page.token else inf
        if page.token and not isnan(lowest):
            self._covered = max(self._covered, lowest)
            return
        assert self._bound is not None
        self._covered = nextafter(self._bound, inf)
        self._pages = None
        if self._bound == inf:
            self._rest = None

    def _add(self, runs: Sequence[Run]) -> None:
        self._evaluations |= {run.info.run_id: run for run in runs if _is_complete(run)}


def _ranked(primary: str, condition: str, bound: float) -> Iterator[PagedList[Run]]:
    """Evaluations in the order of their loss, the earlier of equals first, NaN and none last.

    The bound is there for speed: SQLite joins what it orders by a metric without an index.
    """
    name, is_loss = f"metrics.`cv/{primary}`", not METRICS[primary].greater_is_better
    if bound < inf:
        number = repr(bound if is_loss else -bound).replace("e+", "e")  # as MLflow reads it
        condition = f"{condition} and {name} {'<=' if is_loss else '>='} {number}"
    return runs.search_pages(
        condition,
        PAGE,
        order_by=(
            f"{name} {'ASC' if is_loss else 'DESC'}",
            "attributes.start_time ASC",
            "attributes.run_id DESC",
        ),
    )


def of_experiment(model: str, primary: str, evaluated: Run) -> Candidates:
    """Those of the searched experiments for the registered model on the same table and split.

    The evaluation in hand is always among them.
    """
    rows = _of_rows({name: evaluated.data.tags[name] for name in DIGESTS})
    condition = f"{rows} and tags.registered_model = '{model}'"
    latest = next(runs.search_pages(condition, PAGE))
    is_other = evaluated.data.tags["registered_model"] != model
    return Candidates(
        primary,
        latest,
        rest=condition if latest.token else None,
        reused=evaluated if is_other else None,
    )


def count_models(dataset: Dataset) -> Count:
    """How many models of the searched experiments were evaluated on the same test part.

    MLflow does not count what it finds: of more evaluations than `PAGE` the latest are counted.
    """
    page = next(runs.search_pages(_of_rows(dataset.digests), PAGE))
    models = {run.data.tags["model_id"] for run in page if _is_complete(run)}
    return Count(len(models), is_all=not page.token)


def _of_rows(tags: Mapping[str, str]) -> str:
    """Searches for the evaluations on a table and a split."""
    return " and ".join([EVALUATED, *(f"tags.{name} = '{text}'" for name, text in tags.items())])


def of_run(run_id: str) -> Run:
    """The finished evaluation of a parent run, or of a run of a step, or the evaluation itself.

    Raises RegistryError if there is none.
    """
    run = runs.find_run(run_id)
    if run is None:
        raise RegistryError(
            f"run {run_id!r} is not in the tracking store; the UI (`mlflow ui`) shows the ids"
        )
    evaluated = [run]
    if run.data.tags.get(runs.STEP) != "evaluate":
        model = f"tags.model_id = '{run.data.tags.get('model_id', '')}'"
        condition, experiment = f"{EVALUATED} and {model}", run.info.experiment_id
        evaluated = next(runs.search_pages(condition, PAGE, experiment=experiment))
    complete = next((run for run in evaluated if _is_complete(run)), None)
    if complete is None:
        raise RegistryError(
            f"run {run_id!r} has no finished evaluation of a model; name a parent run (of the verb "
            "run, evaluate or promote) that came to its end, or its step evaluate"
        )
    return complete


def check(evaluated: Run, dataset: Dataset, split: Mapping[str, Any]) -> None:
    """Raises RegistryError for a model of another table or split than the config's.

    `split` holds the settings of the split, by key.
    """
    then, now = evaluated.data, dataset.digests
    data, parted = DIGESTS
    name = f"run {candidate(evaluated).run_id!r}"
    if then.tags[data] != now[data]:
        raise RegistryError(
            f"{name} was made from another table than data.source holds here (its sha256 began "
            f"with {then.tags[data][:12]}, and is {now[data][:12]} here): its test part cannot be "
            "judged afresh; name the config of that run"
        )
    if then.tags[parted] == now[parted]:
        return
    here = runs.texts_by_key(split)
    others = {key: text for key in here if (text := then.params.get(key)) not in (None, here[key])}
    if not others:
        raise RegistryError(
            f"{name} was split in another way than here, by the same settings: by other data.group "
            "or data.time, or by an earlier version; train that model anew"
        )
    was = ", ".join(f"{key} was {text} and is {here[key]} here" for key, text in others.items())
    options = " ".join(f"--{key} {shlex.quote(str(text))}" for key, text in others.items())
    raise RegistryError(
        f"{name} has another test part: {was}; it cannot be judged afresh on this one. With the "
        f"settings of that run: {options}"
    )


def _is_complete(run: Run) -> bool:
    return bool(runs.machine_tag(run, runs.FINGERPRINT))


def candidate(evaluated: Run) -> Candidate:
    """What an evaluation says of its model."""
    tags = evaluated.data.tags
    return Candidate(
        run_id=tags[MLFLOW_PARENT_RUN_ID],
        model_id=tags["model_id"],
        metrics=dict(evaluated.data.metrics),
        params=dict(evaluated.data.params),
        digests={name: tags[name] for name in DIGESTS},
    )

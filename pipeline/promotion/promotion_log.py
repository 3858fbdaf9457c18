"""The champions of a registered model, one after the other: entries that are never changed.

It is a run of its own. Entry n is its param `n`, and MLflow lets nobody overwrite a param: of two
that would be the next entry at the same moment one is refused, and has to look again. An entry
stands before the alias moves and says where to; whoever finds the last one not done moves the
alias for it. So there is one order of champions, and it is the same for everyone. An entry that the
store refused to carry out is withdrawn: param `n.done` is written once too, and says which it is.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from pipeline.errors import StoreError
from pipeline.reporting.markdown import shortened
from pipeline.results import Event, alike
from pipeline.tracking import registry, runs, store_errors

TAG = "ledger"  # of the registered model: the id of the run; and the tag `step` of that run
FORMAT = "1"  # the tag `format` of that run, of the entries; a run without the tag has it too
DONE = ".done"
WITHDRAWN = "withdrawn"  # how the outcome of an entry begins that was refused
LONGEST_REASON = 2000  # characters; MLflow takes 6000 for the entry
TAKEN = ("INVALID_PARAMETER_VALUE",)  # a param that has another value


@dataclass(frozen=True)
class PromotionLog:
    """The entries of a registered model that stand, the oldest first."""

    run_id: str
    events: tuple[Event, ...]
    is_done: bool  # whether the alias has moved to where the last entry says
    withdrawn: int = 0  # entries that were

    @property
    def last(self) -> Event | None:
        """The entry of the champion that is."""
        return self.events[-1] if self.events else None

    @property
    def champion(self) -> str | None:
        """The version that the last entry says is champion."""
        return self.last.version if self.last else None

    @property
    def length(self) -> tuple[int, int]:
        """How many entries stand, and how many were withdrawn."""
        return len(self.events), self.withdrawn

    def earlier(self) -> list[str]:
        """The champions to go back to, the latest first, without those that were rolled back."""
        champions = self._champions()
        is_vacant = self.last is not None and self.last.version is None
        return champions[::-1] if is_vacant else champions[-2::-1]

    def _champions(self) -> list[str]:
        """The versions in the order in which they succeed one another, up to the champion.

        A return to an earlier champion takes those after it out.
        """
        champions: list[str] = []
        for event in self.events:
            if event.before is not None and not champions:
                champions.append(event.before)
            if event.version is None:
                continue
            if event.action != "promoted" and event.version in champions:
                del champions[champions.index(event.version) + 1 :]
                continue
            if event.action == "rolled back" and champions[-1:] == [event.before]:
                champions.pop()
            champions.append(event.version)
        return champions

    def rolled_back(self) -> dict[str, Mapping[str, float]]:
        """The models that had to go and have not been champion since: id -> metrics."""
        made = {event.version: event for event in self.events if event.action != "rolled back"}
        rejected: dict[str, Mapping[str, float]] = {}
        for event in self.events:
            champion = made.get(event.version, event)
            for model_id, metrics in list(rejected.items()):
                if model_id == champion.model_id or alike(metrics, champion.metrics):
                    del rejected[model_id]
            if event.action == "rolled back" and event.before in made:
                before = made[event.before]
                rejected[before.model_id] = before.metrics
        return rejected


def read(name: str) -> PromotionLog | None:
    """The model's log, if it has one that was not deleted. Raises StoreError for a later format."""
    run = runs.find_run(_tag(name))
    if run is None:
        return None
    number = run.data.tags.get("format", FORMAT)
    if number != FORMAT:
        raise StoreError(
            f"the promotion log of {name!r} has the format {number}, and this version of the "
            f"pipeline reads {FORMAT}: go on with the later version that wrote it"
        )
    params = run.data.params
    keys = sorted((key for key in params if key.isdigit()), key=int)
    standing = [key for key in keys if not params.get(key + DONE, "").startswith(WITHDRAWN)]
    events = tuple(Event(**json.loads(params[key])) for key in standing)
    is_done = not keys or keys[-1] + DONE in params
    return PromotionLog(run.info.run_id, events, is_done, len(keys) - len(standing))


def begin(name: str, experiment_id: str) -> PromotionLog:
    """The model's log, made if it has none, with the registered model if there is none."""
    existing = read(name)
    if existing is not None:
        return existing
    client = MlflowClient()
    tags = {runs.STEP: TAG, "registered_model": name, "format": FORMAT}
    if maker := mlflow.active_run():
        tags[MLFLOW_PARENT_RUN_ID] = maker.info.run_id  # it is no command: out of sight below one
    run = client.create_run(experiment_id, run_name=f"champions of {name}", tags=tags)
    client.set_terminated(run.info.run_id)
    try:
        client.create_registered_model(name, tags={TAG: run.info.run_id})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        other = read(name)
        if other is not None:  # of one who came first
            _discard(run.info.run_id)
            return other
        # Registered by hand, or its log was deleted.
        try:
            client.set_registered_model_tag(name, TAG, run.info.run_id)
        except MlflowException:
            _discard(run.info.run_id)
            raise
    return PromotionLog(run.info.run_id, (), is_done=True)


def _discard(run_id: str) -> None:
    """Deletes a run that no model names; one who may make runs may not always delete them."""
    try:
        MlflowClient().delete_run(run_id)
    except MlflowException as error:
        if not store_errors.is_forbidden(error):
            raise


def _tag(name: str) -> str:
    model = registry.registered_model(name)
    return "" if model is None else str(model.tags.get(TAG, ""))


def append(promotions: PromotionLog, event: Event) -> PromotionLog | None:
    """The log with one more entry, which is to be done; None if another came first."""
    event = replace(event, why=shortened(event.why, LONGEST_REASON))
    entered = replace(promotions, events=(*promotions.events, event), is_done=False)
    entry = json.dumps(asdict(event))
    return entered if _write(entered.run_id, _last_key(entered), entry) else None


def done(promotions: PromotionLog) -> PromotionLog:
    """Notes that the alias has moved to where the last entry says, if nobody has noted it yet."""
    _write(promotions.run_id, _last_key(promotions) + DONE, now())
    return replace(promotions, is_done=True)


def withdraw(promotions: PromotionLog) -> bool:
    """Takes the last entry out, unless another has carried it out meanwhile."""
    return _write(promotions.run_id, _last_key(promotions) + DONE, f"{WITHDRAWN} {now()}")


def check_rights(promotions: PromotionLog, name: str) -> None:
    """Raises StoreError where the store lets this user enter nothing, or move no alias.

    That is tried with tags, written anew as they are: it changes nothing.
    """
    client = registry.Client()
    trials = (
        (store_errors.REGISTERED_MODEL, name, partial(client.set_registered_model_tag, name, TAG)),
        (store_errors.RUN, promotions.run_id, partial(client.set_tag, promotions.run_id, TAG)),
    )
    for kind, which, write in trials:
        try:
            write(promotions.run_id)
        except MlflowException as error:
            if not store_errors.is_forbidden(error):
                raise
            raise StoreError(store_errors.missing_right("EDIT", kind, which)) from error


def _write(run_id: str, key: str, text: str) -> bool:
    """Whether the param was not taken yet."""
    try:
        MlflowClient().log_param(run_id, key, text)
    except MlflowException as error:
        if error.error_code in TAKEN:
            return False
        raise
    return True


def now() -> str:
    """UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _last_key(promotions: PromotionLog) -> str:
    return f"{sum(promotions.length):04d}"

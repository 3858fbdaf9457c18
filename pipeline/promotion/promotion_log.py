"""The line of champions of a registered model: entries that are written once and never changed.

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

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.errors import StoreError
from pipeline.promotion.select import alike
from pipeline.reporting.markdown import shortened
from pipeline.results import Event
from pipeline.tracking import registry
from pipeline.tracking import runs as tracking
from pipeline.tracking import store_errors as store

TAG = "ledger"  # of the registered model: the id of the run
DONE = ".done"
WITHDRAWN = "withdrawn"  # how the outcome of an entry begins that was refused
LONGEST_REASON = 2000  # characters; MLflow takes 6000 for the entry
TAKEN = ("INVALID_PARAMETER_VALUE",)  # a param that has another value


@dataclass(frozen=True)
class Ledger:
    """The entries so far that stand, the oldest first."""

    run_id: str
    events: tuple[Event, ...]
    is_done: bool  # whether the alias has moved to where the last entry says
    withdrawn: int = 0  # entries that were

    @property
    def last(self) -> Event | None:
        """The entry of the champion that is."""
        return self.events[-1] if self.events else None

    @property
    def state(self) -> tuple[int, int]:
        """How many entries stand, and how many were withdrawn."""
        return len(self.events), self.withdrawn

    def earlier(self) -> list[str]:
        """The champions to go back to, the latest first, without those that were rolled back."""
        line = self._line()
        gone = self.last is not None and self.last.version is None
        return line[::-1] if gone else line[-2::-1]

    def _line(self) -> list[str]:
        """A return to an earlier champion takes those after it out of the line."""
        line: list[str] = []
        for event in self.events:
            if event.before is not None and not line:
                line.append(event.before)
            if event.version is None:
                continue
            if event.action != "promoted" and event.version in line:
                del line[line.index(event.version) + 1 :]
                continue
            if event.action == "rolled back" and line[-1:] == [event.before]:
                line.pop()
            line.append(event.version)
        return line

    def rolled_back(self) -> dict[str, Mapping[str, float]]:
        """The models that had to go and have not been champion since: id -> metrics."""
        made = {event.version: event for event in self.events if event.action != "rolled back"}
        out: dict[str, Mapping[str, float]] = {}
        for event in self.events:
            back = made.get(event.version, event)
            for model_id, metrics in list(out.items()):
                if model_id == back.model_id or alike(metrics, back.metrics):
                    del out[model_id]
            if event.action == "rolled back" and event.before in made:
                gone = made[event.before]
                out[gone.model_id] = gone.metrics
        return out


def read(name: str) -> Ledger | None:
    """The model's ledger, if it has one that was not deleted."""
    run = tracking.find_run(_tag(name))
    if run is None:
        return None
    params = run.data.params
    keys = sorted((key for key in params if key.isdigit()), key=int)
    standing = [key for key in keys if not params.get(key + DONE, "").startswith(WITHDRAWN)]
    events = tuple(Event(**json.loads(params[key])) for key in standing)
    is_done = not keys or keys[-1] + DONE in params
    return Ledger(run.info.run_id, events, is_done, len(keys) - len(standing))


def begin(name: str, experiment_id: str) -> Ledger:
    """The model's ledger, made if it has none, with the registered model if there is none."""
    known = read(name)
    if known is not None:
        return known
    client = MlflowClient()
    tags = {tracking.STEP: "ledger", "registered_model": name}
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
        # Registered by hand, or its ledger was deleted.
        try:
            client.set_registered_model_tag(name, TAG, run.info.run_id)
        except MlflowException:
            _discard(run.info.run_id)
            raise
    return Ledger(run.info.run_id, (), is_done=True)


def _discard(run_id: str) -> None:
    """Deletes a run that no model names; one who may make runs may not always delete them."""
    try:
        MlflowClient().delete_run(run_id)
    except MlflowException as error:
        if not store.is_forbidden(error):
            raise


def _tag(name: str) -> str:
    model = registry.registered_model(name)
    return "" if model is None else str(model.tags.get(TAG, ""))


def append(ledger: Ledger, event: Event) -> Ledger | None:
    """The ledger with one more entry, which is to be done; None if another came first."""
    event = replace(event, why=shortened(event.why, LONGEST_REASON))
    entered = replace(ledger, events=(*ledger.events, event), is_done=False)
    return entered if _write(ledger.run_id, _last_key(entered), json.dumps(asdict(event))) else None


def done(ledger: Ledger) -> Ledger:
    """Notes that the alias has moved to where the last entry says, if nobody has noted it yet."""
    _write(ledger.run_id, _last_key(ledger) + DONE, now())
    return replace(ledger, is_done=True)


def withdraw(ledger: Ledger) -> bool:
    """Takes the last entry out, unless another has carried it out meanwhile."""
    return _write(ledger.run_id, _last_key(ledger) + DONE, f"{WITHDRAWN} {now()}")


def check_rights(ledger: Ledger, name: str) -> None:
    """Raises StoreError where the store lets this user enter nothing, or move no alias.

    That is tried with tags, written anew as they are: it changes nothing.
    """
    client = registry.Client()
    trials = (
        (store.REGISTERED_MODEL, name, partial(client.set_registered_model_tag, name, TAG)),
        (store.RUN, ledger.run_id, partial(client.set_tag, ledger.run_id, TAG)),
    )
    for kind, which, write in trials:
        try:
            write(ledger.run_id)
        except MlflowException as error:
            if not store.is_forbidden(error):
                raise
            raise StoreError(store.missing_right("EDIT", kind, which)) from error


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


def _last_key(ledger: Ledger) -> str:
    return f"{sum(ledger.state):04d}"

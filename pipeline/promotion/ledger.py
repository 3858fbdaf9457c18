"""The line of champions of a registered model: entries that are written once and never changed.

It is a run of its own. Entry n is its param `n`, and MLflow lets nobody overwrite a param: of two
that would be the next entry at the same moment one is refused, and has to look again. An entry
stands before the alias moves and says where to; whoever finds the last one not done moves the
alias for it. So there is one order of champions, and it is the same for everyone.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline import tracking
from pipeline.markdown import shortened
from pipeline.results import Event
from pipeline.steps.promote import alike

TAG = "ledger"  # of the registered model: the id of the run
DONE = ".done"
LONGEST_REASON = 2000  # characters; MLflow takes 6000 for the entry
TAKEN = ("INVALID_PARAMETER_VALUE",)  # a param that has another value


@dataclass(frozen=True)
class Ledger:
    """The entries so far, the oldest first."""

    run_id: str
    events: tuple[Event, ...]
    is_done: bool  # whether the alias has moved to where the last entry says

    @property
    def last(self) -> Event | None:
        """The entry of the champion that is."""
        return self.events[-1] if self.events else None

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
    numbers = sorted(int(key) for key in run.data.params if key.isdigit())
    events = tuple(Event(**json.loads(run.data.params[_key(number)])) for number in numbers)
    is_done = not events or _key(len(events)) + DONE in run.data.params
    return Ledger(run.info.run_id, events, is_done)


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
            client.delete_run(run.info.run_id)
            return other
        # Registered by hand, or its ledger was deleted.
        client.set_registered_model_tag(name, TAG, run.info.run_id)
    return Ledger(run.info.run_id, (), is_done=True)


def _tag(name: str) -> str:
    try:
        return str(MlflowClient().get_registered_model(name).tags.get(TAG, ""))
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return ""
        raise


def append(ledger: Ledger, event: Event) -> Ledger | None:
    """The ledger with one more entry, which is to be done; None if another came first."""
    event = replace(event, why=shortened(event.why, LONGEST_REASON))
    key = _key(len(ledger.events) + 1)
    try:
        MlflowClient().log_param(ledger.run_id, key, json.dumps(asdict(event)))
    except MlflowException as error:
        if error.error_code in TAKEN:
            return None
        raise
    return replace(ledger, events=(*ledger.events, event), is_done=False)


def done(ledger: Ledger) -> Ledger:
    """Notes that the alias has moved to where the last entry says."""
    try:
        MlflowClient().log_param(ledger.run_id, _key(len(ledger.events)) + DONE, now())
    except MlflowException as error:  # another has done the same
        if error.error_code not in TAKEN:
            raise
    return replace(ledger, is_done=True)


def now() -> str:
    """UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _key(number: int) -> str:
    return f"{number:04d}"

"""The line of champions: moved on, repaired, rolled back. The ledger leads, the alias follows."""

import logging

from mlflow.exceptions import MlflowException

from pipeline import event_loop
from pipeline.errors import RegistryError
from pipeline.promotion import promotion_log as ledger
from pipeline.promotion.author import author
from pipeline.promotion.history import after, as_markdown, table
from pipeline.promotion.promotion_log import Ledger
from pipeline.promotion.proof import MOST_ROWS
from pipeline.promotion.record import key_metrics
from pipeline.results import Event, Version
from pipeline.server.loaded_model import LoadedModel
from pipeline.tracking import model_files, registry
from pipeline.tracking import runs as tracking
from pipeline.tracking import store_errors as store
from pipeline.verbs import Options

log = logging.getLogger(__name__)

HISTORY = "history.csv"


def caught_up(name: str) -> Ledger:
    """The ledger, with what was left undone done, and what was done by other means noted.

    Raises StoreError where the store lets this user do neither.
    """
    line = _finished(name, ledger.begin(name, tracking.experiment_id()))
    number = registry.champion_version(name)
    before = line.last.version if line.last else None
    if number == before:
        return line
    found = Event(
        action="found",
        version=number,
        before=before,
        at=ledger.now(),
        by="",
        why="the alias was moved by other means",
        model_id=registry.model_id(name, number) if number else "",
    )
    ledger.check_rights(line, name)
    return enthrone(name, line, found) or caught_up(name)


def _finished(name: str, line: Ledger) -> Ledger:
    """With the last entry carried out, whoever has left it undone."""
    if not line.is_done:
        event = _last(line)
        ledger.check_rights(line, name)
        log.warning(
            "%s: finishing what was left undone: version %s, %s%s on %s%s",
            name,
            event.version or "none",
            event.action,
            f" by {event.by}" if event.by else "",
            event.at,
            after(event),
        )
        return _settled(name, line)
    return line


def enthrone(name: str, line: Ledger, event: Event) -> Ledger | None:
    """Enters a new champion and moves the alias; None if another entry came first.

    Where the store refuses the move, the entry is withdrawn: nobody carries it out later.
    """
    entered = ledger.append(line, event)
    if entered is None:
        return None
    try:
        return _settled(name, entered)
    except MlflowException as error:
        if store.is_refusal(error) and ledger.withdraw(entered):
            _move_back(name, event, line)
        raise


def _move_back(name: str, event: Event, line: Ledger) -> None:
    """The aliases to where they were before an entry that was refused, if it has moved any."""
    now = registry.champion_version(name)
    if now in (event.version, event.before):
        with store.tolerated():
            registry.move(name, event.before, _previous(name, line))


def rollback(name: str, options: Options) -> Event:
    """Back to the champion before, or to the version that is named; verified before.

    A rollback that was killed is finished by the same command. Raises RegistryError, and
    ModelError for a version that is not what was promoted.
    """
    known = ledger.read(name)
    if (known is None or known.last is None) and registry.champion(name) is None:
        raise RegistryError(f"registry.model {name!r} has had no champion yet: none to go back to")
    if known is not None and _is_asked_for(known, options):
        return _last(_finished(name, known))
    while True:
        line = caught_up(name)
        target = _target(name, line, options.version)
        ledger.check_rights(line, name)
        version = verify(name, target)
        event = Event(
            action="rolled back",
            version=target,
            before=_last(line).version,
            at=ledger.now(),
            by=author(),
            why=options.reason,
            model_id=registry.model_id(name, target),
            metrics=key_metrics(version.metrics),
        )
        if enthrone(name, line, event) is not None:
            return event


def _is_asked_for(line: Ledger, options: Options) -> bool:
    """Whether what was left undone is the rollback that is asked for now."""
    last = line.last
    if last is None or line.is_done or last.action != "rolled back":
        return False
    return options.version in {None, last.version}


def _last(line: Ledger) -> Event:
    """Of a line that has been caught up with a champion, or had one."""
    assert line.last is not None
    return line.last


def verify(name: str, number: str) -> Version:
    """A version, loaded as the server does, that has answered its example. Raises ModelError."""
    return answering(*registry.promoted(name, number))


def answering(version: Version, address: str) -> Version:
    """The same of a version that is in hand, and the address of its files."""
    with model_files.at(address) as folder:
        served = LoadedModel(version, folder, MOST_ROWS)
    try:
        event_loop.run(served.warm_up())
    finally:
        served.close()
    return version


def _target(name: str, line: Ledger, wanted: str | None) -> str:
    champions = {event.version for event in line.events} | {event.before for event in line.events}
    known = sorted({version for version in champions if version}, key=int)
    shown = f"its champions were {', '.join(known)}"
    now = _last(line).version
    target = _previous(name, line) if wanted is None else wanted
    if target is None:
        raise RegistryError(f"{name} has no champion before version {now} to go back to; {shown}")
    if target == now:
        raise RegistryError(f"{name} version {target} is champion already; {shown}")
    if target not in known:
        raise RegistryError(
            f"version {target} was never champion of {name}: {shown}. "
            "A model that was not becomes it by `promote --run ID`"
        )
    return target


def _previous(name: str, line: Ledger) -> str | None:
    """The champion to go back to, if it was not deleted."""
    return next((number for number in line.earlier() if registry.find(name, number)), None)


def _settled(name: str, line: Ledger) -> Ledger:
    """With the alias where the last entry says, even if others have gone on meanwhile."""
    while line.last is not None:
        if not line.is_done:
            _carry_out(name, line)
            _publish(line)
            line = ledger.done(line)
        latest = ledger.read(name)
        if latest is None or latest.last is None or latest.state == line.state:
            break
        # Another entered a champion while this one moved the alias, maybe back, or withdrew what
        # this one has carried out: move it on.
        _carry_out(name, latest)
        _publish(latest)
        line = latest
    return line


def _carry_out(name: str, line: Ledger) -> None:
    """What the last entry says: a rollback's record, then the alias. Twice is as good as once."""
    event = _last(line)
    if event.version is not None and registry.find(name, event.version) is None:
        log.warning("%s: version %s of the ledger is gone; alias not moved", name, event.version)
        return
    if event.action == "rolled back":
        _note(name, event)
    registry.move(name, event.version, _previous(name, line))


def _publish(line: Ledger) -> None:
    """The history in the ledger's run: as a table and as its description."""
    tracking.log_artifacts(line.run_id, {HISTORY: table(line.events)})
    tracking.note(line.run_id, as_markdown(line.events))


def _note(name: str, event: Event) -> None:
    """On the version that had to go, and on the one that came back, beside their own decisions."""
    why = f": {event.why}" if event.why else ""
    when = f"on {event.at} by {event.by}"
    told = (
        (event.before, "rolled_back", f"{when}, to version {event.version}{why}"),
        (event.version, "champion_again", f"{when}{after(event)}{why}"),
    )
    for number, tag, sentence in told:
        version = registry.find(name, number) if number is not None else None
        if version is not None and version.tags.get(tag) != sentence:
            registry.tag(version, {tag: sentence})
            shown = tag.replace("_", " ").capitalize()
            registry.describe(version, f"**{shown}** {sentence}\n\n{version.description or ''}")

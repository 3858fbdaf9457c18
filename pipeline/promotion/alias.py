"""The alias `champion`, moved after the promotion log, in three states.

PENDING: an entry of the log stands, and the alias is not yet where it says. MOVED: the alias is
there. DONE: the log says so too. A process may be killed in each: the next verb that promotes or
rolls back goes on from there.
"""

import logging
from enum import Enum, auto

from mlflow.exceptions import MlflowException

from pipeline.promotion import promotion_log
from pipeline.promotion.history import after, as_markdown, champion_now, table
from pipeline.promotion.promotion_log import PromotionLog
from pipeline.results import Event
from pipeline.tracking import pages, registry, runs, store_errors

log = logging.getLogger(__name__)

HISTORY = "history.csv"


class State(Enum):
    """How far the last entry of a promotion log has come."""

    PENDING = auto()
    MOVED = auto()
    DONE = auto()


def catch_up(name: str) -> PromotionLog:
    """The log, with what was left undone done, and what was done by other means entered.

    Raises StoreError where the store lets this user do neither.
    """
    promotions = finish(name, promotion_log.begin(name, runs.experiment_id()))
    version = registry.champion_version(name)
    before = promotions.champion
    if version == before:
        return promotions
    event = Event(
        action="found",
        version=version,
        before=before,
        at=promotion_log.now(),
        by="",
        why="the alias was moved by other means",
        model_id=registry.model_id(name, version) if version else "",
    )
    promotion_log.check_rights(promotions, name)
    return move(name, promotions, event) or catch_up(name)


def finish(name: str, promotions: PromotionLog) -> PromotionLog:
    """The log with its last entry carried out, whoever has left it undone."""
    event = promotions.last
    if promotions.is_done or event is None:
        return promotions
    promotion_log.check_rights(promotions, name)
    log.warning(
        "%s: finishing what was left undone: version %s, %s%s on %s%s",
        name,
        event.version or "none",
        event.action,
        f" by {event.by}" if event.by else "",
        event.at,
        after(event),
    )
    return _settle(name, promotions)


def move(name: str, promotions: PromotionLog, event: Event, about: str = "") -> PromotionLog | None:
    """Enters a new champion and moves the alias; None if another entry came first.

    `about` says what the model predicts, for the description of the registered model.

    Where the store refuses the move, the entry is withdrawn: nobody carries it out later.
    """
    entered = promotion_log.append(promotions, event)
    if entered is None:
        return None
    try:
        return _settle(name, entered, about)
    except MlflowException as error:
        if store_errors.is_refusal(error) and promotion_log.withdraw(entered):
            _move_back(name, event, promotions)
        raise


def _move_back(name: str, event: Event, promotions: PromotionLog) -> None:
    """The aliases to where they were before an entry that was refused, if it has moved any."""
    if registry.champion_version(name) in (event.version, event.before):
        with store_errors.tolerated():
            registry.set_aliases(name, event.before, previous(name, promotions))


def previous(name: str, promotions: PromotionLog) -> str | None:
    """The champion to go back to, if it was not deleted."""
    return next((version for version in promotions.earlier() if registry.find(name, version)), None)


def _settle(name: str, promotions: PromotionLog, about: str = "") -> PromotionLog:
    """From PENDING to DONE, and on where others have changed the log meanwhile.

    Another may have entered a champion, or withdrawn the entry, while this process moved the
    alias, maybe back.
    """
    state = State.PENDING
    while promotions.last is not None:
        match state:
            case State.PENDING:
                _carry_out(name, promotions, promotions.last)
                state = State.MOVED
            case State.MOVED:
                _publish(name, promotions, about)
                promotions, state = promotion_log.done(promotions), State.DONE
            case State.DONE:
                latest = promotion_log.read(name)
                if latest is None or latest.length == promotions.length:
                    break
                promotions, state = latest, State.PENDING
    return promotions


def _carry_out(name: str, promotions: PromotionLog, event: Event) -> None:
    """What the last entry says: a rollback's record, then the alias. Twice is as good as once."""
    if event.version is not None and registry.find(name, event.version) is None:
        log.warning(
            "%s: version %s of the promotion log is gone; alias not moved", name, event.version
        )
        return
    if event.action == "rolled back":
        _describe_rollback(name, event)
    registry.set_aliases(name, event.version, previous(name, promotions))


def _describe_rollback(name: str, event: Event) -> None:
    """On the version that had to go, and on the one that came back, beside their own decisions."""
    why = f": {event.why}" if event.why else ""
    when = f"on {event.at} by {event.by}"
    for number, tag, sentence in (
        (event.before, "rolled_back", f"{when}, to version {event.version}{why}"),
        (event.version, "champion_again", f"{when}{after(event)}{why}"),
    ):
        version = registry.find(name, number) if number is not None else None
        if version is not None and version.tags.get(tag) != sentence:
            registry.tag(version, {tag: sentence})
            title = tag.replace("_", " ").capitalize()
            registry.describe(version, f"**{title}** {sentence}\n\n{version.description or ''}")


def _publish(name: str, promotions: PromotionLog, about: str) -> None:
    """The history: as a table and a page in the log's run, at the model and at its experiment."""
    events = promotions.events
    runs.log_artifacts(promotions.run_id, {HISTORY: table(events)})
    runs.note(promotions.run_id, as_markdown(events))
    with store_errors.tolerated():  # they are for people alone
        now = champion_now(name, events[-1])
        registry.describe_model(name, about, f"{now}\n\n{as_markdown(events)}")
        pages.describe(name, "\n\n".join(filter(None, (about, now))))

"""Rollback: an earlier champion answers again, verified before."""

from pipeline.errors import RegistryError
from pipeline.promotion import alias, promotion_log, serve_check
from pipeline.promotion.author import author
from pipeline.promotion.promotion_log import PromotionLog
from pipeline.promotion.record import key_metrics
from pipeline.results import Event
from pipeline.tracking import registry
from pipeline.verbs import Options


def roll_back(name: str, options: Options) -> Event:
    """Back to the champion before, or to the version that is named.

    A rollback that was killed is finished by the same command. Raises RegistryError, and
    ModelError for a version that is not what was promoted.
    """
    promotions = promotion_log.read(name)
    last = promotions.last if promotions else None
    if last is None and registry.champion(name) is None:
        raise RegistryError(f"registry.model {name!r} has had no champion yet: none to go back to")
    if promotions and last and _is_asked_for(promotions, last, options):
        return alias.finish(name, promotions).last or last
    while True:
        promotions = alias.catch_up(name)
        target = _target(name, promotions, options.version)
        promotion_log.check_rights(promotions, name)
        version = serve_check.verify(*registry.promoted(name, target))
        event = Event(
            action="rolled back",
            version=target,
            before=promotions.champion,
            at=promotion_log.now(),
            by=author(),
            why=options.reason,
            model_id=registry.model_id(name, target),
            metrics=key_metrics(version.metrics),
        )
        if alias.move(name, promotions, event) is not None:
            return event


def _is_asked_for(promotions: PromotionLog, last: Event, options: Options) -> bool:
    """Whether what was left undone is the rollback that is asked for now."""
    if promotions.is_done or last.action != "rolled back":
        return False
    return options.version in {None, last.version}


def _target(name: str, promotions: PromotionLog, version: str | None) -> str:
    """The version to go back to. Raises RegistryError where there is none, or it was never one."""
    now = promotions.champion
    numbers = {number for event in promotions.events for number in (event.version, event.before)}
    champions = sorted((number for number in numbers if number), key=int)
    were = f"champions so far: version {', '.join(champions)}"
    target = alias.previous(name, promotions) if version is None else version
    if target is None:
        raise RegistryError(f"{name} has no champion before version {now} to go back to; {were}")
    if target == now:
        raise RegistryError(f"{name} version {target} is champion already; {were}")
    if target not in champions:
        raise RegistryError(
            f"version {target} was never champion of {name}: {were}. "
            "A model that was not becomes it by `promote --run ID`"
        )
    return target

"""The registered model: its versions, their files, and the promotion log beside the aliases."""

from collections.abc import Iterator

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from pipeline.command_line import PROGRAM
from pipeline.config.sections import Config
from pipeline.doctor.finding import OK, Finding, wrong
from pipeline.errors import PipelineError
from pipeline.inference import manifest
from pipeline.promotion import alias, promotion_log
from pipeline.promotion.stored_model import of_version
from pipeline.tracking import registry

ROLLBACK = f"{PROGRAM} rollback"
ANEW = f"{PROGRAM} run --fresh --gate.rule none"  # with the champion nothing is compared


def versions(config: Config) -> Iterator[Finding]:
    """Whether each version is ready, and each alias on one that is there."""
    name = config.registry.model
    model = registry.registered_model(name)
    if model is None:
        yield Finding("registered model", f"{name} is not there yet: the first promotion makes it")
        return
    registered = MlflowClient().search_model_versions(f"name = '{name}'")
    numbers = {str(version.version) for version in registered}
    for version in registered:
        if version.status != registry.READY:
            yield wrong(
                "versions",
                f"{name} version {version.version} is {version.status}, not {registry.READY}",
                "python -c 'import mlflow; mlflow.MlflowClient().delete_model_version("
                f'"{name}", "{version.version}")\'',
            )
    for label, number in model.aliases.items():
        if str(number) not in numbers:
            yield wrong(
                "aliases",
                f"{label} of {name} is on version {number}, which is gone",
                "python -c 'import mlflow; mlflow.MlflowClient().delete_registered_model_alias("
                f'"{name}", "{label}")\'',
            )
    yield Finding("registered model", f"versions of {name}: {len(numbers)}")


def champion(config: Config) -> Iterator[Finding]:
    """Whether the champion and the one before are what was promoted, and load here."""
    name = config.registry.model
    now, before = (registry.with_alias(name, one) for one in (registry.CHAMPION, registry.PREVIOUS))
    previous = _loads(registry.PREVIOUS, before, name)
    may_go_back = before is not None and previous.status == OK
    yield _loads(registry.CHAMPION, now, name, ROLLBACK if may_go_back else ANEW)
    yield previous


def _loads(label: str, version: ModelVersion | None, name: str, command: str = "") -> Finding:
    if version is None:
        return Finding(label, f"{name} has none")
    title = f"{name} version {version.version}"
    try:
        with of_version(version):
            return Finding(label, f"{title} is what was promoted, and loads in this environment")
    except PipelineError as error:
        reason = str(error).replace(f"; {manifest.REMEDY}", "")
        return wrong(label, f"{title} cannot be served: {reason}", command)


def log_and_alias(config: Config) -> Iterator[Finding]:
    """Whether the alias is where the promotion log says."""
    name, subject = config.registry.model, "promotion log"
    entries = promotion_log.read(name)
    if entries is None or entries.last is None:
        yield Finding(subject, f"{name} has no champion yet")
        return
    now = registry.champion_version(name)
    if not entries.is_done:
        message = f"its last entry, version {entries.champion}, is not carried out"
        yield wrong(
            subject, message, f"{PROGRAM} doctor --fix", lambda: alias.finish(name, entries)
        )
    elif now != entries.champion:
        message = (
            f"it says version {entries.champion}, and the alias is on {now or 'none'}: it was "
            "moved by other means; the next promotion or rollback enters that, or go back"
        )
        yield wrong(subject, message, _way_back(name, entries.champion))
    else:
        yield Finding(subject, f"version {now} is champion, as it says")


def _way_back(name: str, number: str | None) -> str:
    """The command that makes the champion of the log answer again, or another if it is gone."""
    if number is not None and registry.find(name, number) is None:
        return ANEW
    return f"{ROLLBACK} --version {number}" if number else ROLLBACK

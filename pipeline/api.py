"""What runs a verb, for the command line and for a notebook.

It imports next to nothing: MLflow and scikit-learn take seconds, and workers start beside that.
"""

from collections.abc import Callable

from pipeline.config.sections import Config
from pipeline.errors import PipelineError
from pipeline.tuning import worker_pool
from pipeline.verbs import Options, searches


def execute(verb: str, config: Config, options: Options) -> None:
    """Runs a verb. Raises PipelineError for what the user can mend, a store's errors included."""
    if searches(verb, options):
        worker_pool.warm_up(config.tune)
    try:
        from pipeline.tracking import local_store

        local_store.make()
        COMMANDS.get(verb, _steps)(verb, config, options)
    except PipelineError:
        raise
    except Exception as error:
        from pipeline.tracking import store_errors

        mistake = store_errors.mistake(error, config.registry.model)
        if mistake is None:
            raise
        raise mistake from error
    finally:
        worker_pool.stop()


def _steps(verb: str, config: Config, options: Options) -> None:
    from pipeline import flow

    flow.run(verb, config, options)


def _rollback(_: str, config: Config, options: Options) -> None:
    from pipeline import flow

    flow.rollback(config, options)


def _history(_: str, config: Config, __: Options) -> None:
    from pipeline import flow

    flow.history(config)


def _serve(_: str, config: Config, __: Options) -> None:
    from pipeline.server.serve import serve

    serve(config)


COMMANDS: dict[str, Callable[[str, Config, Options], None]] = {  # those without steps
    "rollback": _rollback,
    "history": _history,
    "serve": _serve,
}

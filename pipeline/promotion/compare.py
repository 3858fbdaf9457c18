"""Two models of the store side by side."""

from collections.abc import Sequence
from contextlib import ExitStack

from pipeline.config.sections import Config
from pipeline.errors import ContractError, RegistryError
from pipeline.promotion.challenger import held_out, predict
from pipeline.promotion.stored_model import of_candidate
from pipeline.results import Candidate, Dataset, Report
from pipeline.steps.compare import compare


def compare_runs(config: Config, dataset: Dataset, pair: Sequence[Candidate]) -> Report:
    """Two models on rows that neither was trained on, nor on others of their groups.

    Raises ContractError if there are no such rows, RegistryError if the models are the same.
    """
    if pair[0].model_id == pair[1].model_id:
        raise RegistryError(
            f"both runs have the same model, {pair[0].model_id}: name two that were trained apart"
        )
    names = [f"run {one.run_id[:8]}" for one in pair]
    with ExitStack() as stack:
        models = [
            stack.enter_context(of_candidate(name, one))
            for name, one in zip(names, pair, strict=True)
        ]
        where = held_out(dataset, models)
        if not where.any():
            raise ContractError("there is no row that neither was trained on")
        X, y = dataset.cells_of(dataset.X[where]), dataset.y[where]
        metadata = dataset.metadata.of(X)
        predictions = {model.title: predict(model, X, y, metadata) for model in models}
    params = {name: one.params for name, one in zip(names, pair, strict=True)}
    return compare(config.evaluate, predictions, params, dataset.class_names)

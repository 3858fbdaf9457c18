"""The whole procedure on a data set, from the search to the fitted model."""

from pipeline.config.sections import Config
from pipeline.results import Dataset, Training, Tuning
from pipeline.steps.train import fit
from pipeline.steps.tune import tune


def run(config: Config, dataset: Dataset) -> tuple[Tuning, Training]:
    """Tunes, blends, chooses the threshold and fits, as the steps do."""
    tuning = tune(config, dataset)
    return tuning, fit(config, dataset, tuning)

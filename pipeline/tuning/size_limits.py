"""What of a search depends on the number of rows: the rows that it sees, and its families."""

from pipeline.config.sections import Config
from pipeline.datasets.sampling import final_part, search_part
from pipeline.errors import ConfigError
from pipeline.models.families import most_rows
from pipeline.results import Dataset
from pipeline.tasks import Family


def fitting_families(config: Config, rows: int) -> tuple[Family, ...]:
    """The families of the config that can be fitted, in the search and at its end.

    `rows` are those of the training part. Raises ConfigError where there is none.
    """
    families, fitted = config.tune.families, _most_fitted(config, rows)
    fitting = tuple(family for family in families if most_rows(family) >= fitted)
    if not fitting:
        most = int(max(map(most_rows, families)))
        raise ConfigError(
            f"tune.families is [{', '.join(families)}], which can be fitted on at most {most} "
            f"rows, and the training part has {rows}: set both tune.max_rows and train.max_rows "
            f"to {most} or less, or name another family"
        )
    return fitting


def describe(config: Config, dataset: Dataset) -> str:
    """Which rows and families a search does without, in a sentence; empty where none."""
    rows, sentences = len(dataset.y_train), []
    searched = len(search_part(config, dataset).y_train)
    if searched < rows:
        sentences.append(
            f"the search sees {searched} of {rows} training rows, drawn by chance (tune.max_rows)"
        )
    fitting = fitting_families(config, rows)
    left_out = [
        f"{family} (at most {most_rows(family)} rows)"
        for family in config.tune.families
        if family not in fitting
    ]
    if left_out:
        sentences.append(
            f"left out, as they cannot be fitted on {_most_fitted(config, rows)} rows: "
            f"{', '.join(left_out)}; see tune.max_rows and train.max_rows"
        )
    return "; ".join(sentences)


def describe_fit(config: Config, dataset: Dataset) -> str:
    """On which rows the final model is fitted and chosen, where not on all; else empty."""
    rows = len(dataset.y_train)
    fitted, chosen = (len(part(config, dataset).y_train) for part in (final_part, search_part))
    if fitted == chosen == rows:
        return ""
    return (
        f"chosen by {chosen} (tune.max_rows) and fitted on {fitted} (train.max_rows) of {rows} "
        "training rows"
    )


def _most_fitted(config: Config, rows: int) -> int:
    return max(min(rows, most or rows) for most in (config.tune.max_rows, config.train.max_rows))

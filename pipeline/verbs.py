"""What the command line, the flow, the fingerprint and MLproject know of each verb: one table."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

NUMERIC = ("numpy", "scipy", "pandas", "scikit-learn")
DEFAULT_CONFIG = "configs/pima.yaml"


def _option(default: Any, meaning: str, value: str = "true") -> Any:
    """A field of Options; `value` stands for its value in the help, `true` for a flag."""
    return field(default=default, metadata={"meaning": meaning, "value": value})


@dataclass(frozen=True)
class Options:
    """What is asked of a verb beyond the config; `Verb.options` says who takes which."""

    fresh: bool = _option(False, "run every step, reuse none")
    dry_run: bool = _option(False, "decide and tell, but move nothing")
    run: str | None = _option(None, "the model of this run, not the best", "ID")
    version: str | None = _option(None, "to this version, not the champion before", "N")
    reason: str = _option("", "why, for the record", "TEXT")
    target: str = _option("", "the column to predict", "COLUMN")
    output: str = _option("", "the file that is written (of init configs/NAME.yaml)", "PATH")
    force: bool = _option(False, "write over a file that is there")
    data: str = _option("", "the table: a file, a folder or an address", "SOURCE")
    model: str = _option("", "not the champion, but models:/NAME/VERSION", "ADDRESS")
    keep: str = _option("", "columns beside the answers, by commas; all if not given", "COLUMNS")
    engine: str = _option("local", "what scores: local, or spark (spark.master)", "NAME")
    labels: str = _option("", "a table of labels that came later, joined by --key", "SOURCE")
    key: str = _option("", "the columns that name a row in both, by commas", "COLUMNS")
    retrain: bool = _option(False, "run all steps where something is beyond the bounds")
    shadow: bool = _option(False, "compare the champion with the shadow, by serve.shadow_log")
    strict: bool = _option(False, "refuse the table if a row breaks the contract")
    fix: bool = _option(False, "mend what can be mended without loss")
    json: bool = _option(False, "for machines")
    runs: tuple[str, ...] = ()  # those to compare, which stand after the config
    given: tuple[str, ...] = field(default=(), compare=False)  # the config and settings, as words


OPTIONS = {option.name: option for option in fields(Options) if option.metadata}


@dataclass(frozen=True)
class Verb:
    """What a verb does, and what counts for its result beyond what the verbs before it have."""

    meaning: str
    needs: tuple[str, ...] = ()  # verbs whose results it takes
    sections: tuple[str, ...] = ()  # of the config
    settings: tuple[str, ...] = ()  # of other sections
    libraries: tuple[str, ...] = ()  # distributions whose version counts
    modules: tuple[str, ...] = ()  # of the project, whose source counts with all that they import
    options: tuple[str, ...] = ()  # fields of Options
    required: tuple[str, ...] = ()  # those of them that it cannot do without
    instead: str = ""  # an option that does without those
    arguments: tuple[str, ...] = ()  # words after the config: the ids of runs
    aliases: Mapping[str, str] = field(default_factory=dict)  # short names of settings
    is_step: bool = True  # it leaves a run of its own below the command's
    opens_run: bool = True  # the command leaves a run
    makes_store: bool = True  # where there is none
    searches: bool = False  # it tunes models
    reads_config: bool = True  # else it takes a table
    is_reused: bool = True  # a finished run with the same inputs stands for it


VERBS: dict[str, Verb] = {
    "init": Verb(
        "write the config of a table that nobody has described yet",
        options=("data", "target", "output", "force"),
        required=("data",),
        is_step=False,
        opens_run=False,
        reads_config=False,
    ),
    "run": Verb(
        "all steps: ingest, analyze, tune, train, evaluate, promote",
        needs=("analyze", "promote"),
        options=("fresh",),
        is_step=False,
    ),
    "ingest": Verb(
        "get the table, check it, split it",
        sections=("data", "split"),
        libraries=(*NUMERIC, "pyarrow"),
        modules=("steps.ingest",),
        options=("fresh",),
    ),
    "analyze": Verb(
        "look at the table",
        needs=("ingest",),
        libraries=("skrub", "matplotlib"),
        modules=("steps.analyze",),
        options=("fresh",),
    ),
    "tune": Verb(
        "search model families and hyperparameters",
        needs=("ingest",),
        sections=("tune", "spark"),
        settings=("train.max_rows",),  # families that cannot be fitted on so many are left out
        libraries=("hyperopt",),
        modules=("steps.tune", "tracking.arrays"),
        options=("fresh",),
        searches=True,
    ),
    "train": Verb(
        "fit the final model",
        needs=("tune",),
        sections=("train",),
        libraries=("mlflow", "onnx", "onnxruntime"),
        modules=(
            *("steps.train", "export.compilation", "inference.mlflow_flavor"),
            *("datasets.row_hash", "tracking.arrays", "tracking.logged_model"),
        ),
        options=("fresh",),
    ),
    "evaluate": Verb(
        "judge it on the test part",
        needs=("train",),
        sections=("evaluate",),
        modules=("steps.evaluate",),
        options=("fresh",),
    ),
    "promote": Verb(
        "make the best model champion, if it keeps the rules of the gate",
        needs=("evaluate",),
        sections=("gate", "registry"),
        modules=("promotion.select",),
        options=("fresh", "dry_run", "run", "reason"),
        is_reused=False,
    ),
    "rollback": Verb(
        "go back to an earlier champion",
        sections=("registry",),
        options=("version", "reason"),
        is_step=False,
    ),
    "history": Verb(
        "tell the line of champions", sections=("registry",), is_step=False, opens_run=False
    ),
    "compare": Verb(
        "hold two runs' models against each other",
        needs=("ingest",),
        sections=("evaluate",),
        modules=("steps.compare",),
        options=("fresh",),
        arguments=("first", "second"),
        is_reused=False,
    ),
    "audit": Verb(
        "cross-validate the whole procedure, search and all",
        needs=("ingest",),
        sections=("tune", "train", "audit", "spark"),
        libraries=("hyperopt",),
        modules=("steps.audit", "steps.procedure"),
        options=("fresh",),
        aliases={"folds": "audit.folds"},
        searches=True,
    ),
    "predict": Verb(
        "answer for all rows of a table, in a file",
        sections=("registry", "spark"),
        options=("data", "output", "model", "keep", "strict", "force", "engine"),
        required=("data", "output"),
        is_step=False,
    ),
    "monitor": Verb(
        "compare new rows with those of the training, or a server's shadow with its champion",
        sections=("registry", "monitor", "evaluate"),
        options=("data", "model", "target", "labels", "key", "retrain", "shadow"),
        required=("data",),
        instead="shadow",
        is_step=False,
    ),
    "doctor": Verb(
        "check the environment, the store, the models, and say what mends them",
        sections=("registry", "serve"),
        options=("fix", "json"),
        is_step=False,
        opens_run=False,
        makes_store=False,
    ),
    "serve": Verb(
        "answer REST calls with the champion",
        sections=("registry", "serve"),
        aliases={"workers": "serve.workers", "insecure": "serve.insecure"},
        is_step=False,
        opens_run=False,
    ),
}


def needed(verb: str) -> tuple[str, ...]:
    """The steps of a verb in the order in which they run, its own the last."""
    before = [step for need in VERBS[verb].needs for step in needed(need)]
    return (*dict.fromkeys(before), *[verb] * VERBS[verb].is_step)


def steps(verb: str, options: Options) -> tuple[str, ...]:
    """The steps that a command runs or reuses: of a run that is named, what it made is there."""
    return needed(verb) if options.run is None else ("ingest", verb)


def searches(verb: str, options: Options) -> bool:
    """Whether the command may have to search."""
    return any(VERBS[step].searches for step in steps(verb, options))


def sections(verb: str) -> tuple[str, ...]:
    """The sections whose settings are of the verb itself; of `run`, those of its steps."""
    of_steps = [section for step in needed(verb) for section in VERBS[step].sections]
    return VERBS[verb].sections or (() if VERBS[verb].is_step else tuple(dict.fromkeys(of_steps)))

"""The logged model: the fitted classifier with its contract, code, requirements and example."""

import hashlib
import logging
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mlflow
from mlflow.models import Model

from pipeline.config.sections import Config
from pipeline.evaluation.profile import profile_of
from pipeline.export.compilation import Compilation
from pipeline.inference import manifest, mlflow_flavor
from pipeline.inference.manifest import Manifest
from pipeline.inference.predictor import Params, Predictor, Trained
from pipeline.inference.runtimes import behind_cells, of_estimator
from pipeline.models import import_paths as packages
from pipeline.models.cells import with_cells
from pipeline.results import Dataset, Training
from pipeline.tracking import model_files

EXAMPLE_ROWS = 3
MOST_ANSWERS = 20_000  # of which the spread is taken
SHIPPED = ("errors.py", "tasks.py", "schema", "inference")  # what answers a request
ARCHIVE = "modules.zip"
PACKAGE_OF_ARCHIVE = f'''"""The code that answers for the model, in {ARCHIVE}."""

__path__ = [f"{{__path__[0]}}/{ARCHIVE}"]
'''
REQUIREMENTS = (
    "mlflow",
    "scikit-learn",
    "numpy",
    "scipy",
    "pandas",
    "pydantic",
    "onnxruntime",
    "httptools",
    "uvloop",
)


def log(config: Config, dataset: Dataset, training: Training, compilation: Compilation) -> str:
    """The id of the logged model: the pickled classifier with all that an answer needs."""
    estimators = config.tune.import_paths()
    required = {name: version(name) for name in REQUIREMENTS} | packages.distributions(estimators)
    X_train = dataset.X_train.to_numpy()
    class_names = dataset.class_names if dataset.labels else ()
    trained = Trained.on(
        dataset.contract, X_train, training.threshold, training.scores, class_names
    )
    flavor = _Flavor()
    with _staged_code() as code, _quiet():
        info = Model.log(
            name=re.sub(r"[^\w -]", "_", dataset.name),
            artifact_path=None,
            flavor=flavor,
            model=with_cells(training.model, dataset.contract, dataset.cells_of(dataset.X_train)),
            contract=dataset.contract,
            trained=trained,
            linear=compilation.linear,
            graph=compilation.graph,
            profile=_profile(dataset, training.model, trained),
            loader_module=f"{code.name}.inference.mlflow_flavor",
            code_paths=[str(code), *map(str, packages.files(estimators))],
            pip_requirements=[f"{name}=={number}" for name, number in required.items()],
            signature=mlflow_flavor.signature(
                dataset.contract, training.threshold, training.scores, class_names
            ),
            # Complete where it can be: MLflow writes a gap as NaN, which is not JSON.
            input_example=dataset.examples(EXAMPLE_ROWS).reset_index(drop=True),
            # That only warns, and may write to the folder; `gate.serve_check` asks more.
            validate_serving_input=False,
        )
    model_files.seal(info.model_id, flavor.manifest)
    return str(info.model_id)


def _profile(dataset: Dataset, model: Any, trained: Trained) -> str:
    """How the training part is spread, and the answers for rows of the test part, without truth."""
    contract = dataset.contract
    predictor = Predictor(contract, of_estimator(model, contract), trained)
    answers = predictor.answers(dataset.X_test.head(MOST_ANSWERS).to_numpy(), Params())
    X = dataset.X_train.to_numpy()
    return profile_of(contract, X, predictor.target.columns, answers).model_dump_json()


class _Flavor:
    """The project's flavor, with the manifest of what it has saved, which MLflow then uploads."""

    manifest: Manifest = MappingProxyType({})

    def save_model(self, path: str, **options: Any) -> None:
        """MLflow's hook for `Model.log(flavor=...)`; the folder is uploaded as it is now."""
        del options["validate_serving_input"]  # of `Model.log` alone
        mlflow_flavor.save_model(path, **options)
        self.manifest = manifest.of(Path(path))


def load(folder: Path) -> Any:
    """The fitted scikit-learn classifier among a logged model's files, which takes codes."""
    path = list(sys.path)
    model = mlflow.sklearn.load_model(str(folder))
    sys.path[:] = path  # MLflow puts the model's own code before the project's
    return behind_cells(model)


@contextmanager
def _staged_code() -> Iterator[Path]:
    """A package of a name of its own with the code that the served model needs, in one archive.

    Whoever loads the model may have a package `pipeline`, and other models with other versions of
    this code: so the name is made of what the modules hold. Python imports from the archive; as
    files the modules would cost a tracking server a request each, whenever a model is fetched.
    """
    here = Path(__file__).resolve().parents[1]
    paths = [path for name in SHIPPED for path in _modules(here / name)]
    sources = {path.relative_to(here).as_posix(): path.read_text("utf-8") for path in paths}
    digest = hashlib.sha256("".join(sources.values()).encode()).hexdigest()
    name = f"served_{here.name}_{digest[:8]}"
    imports = re.compile(rf"^(\s*(?:from|import) ){here.name}\b", re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / name
        package.mkdir()
        (package / "__init__.py").write_text(PACKAGE_OF_ARCHIVE, encoding="utf-8")
        with zipfile.ZipFile(package / ARCHIVE, "w") as archive:
            for path, source in sources.items():
                renamed = imports.sub(rf"\g<1>{name}", source)
                # Without the time: the same code is the same bytes.
                archive.writestr(zipfile.ZipInfo(path), renamed, zipfile.ZIP_DEFLATED)
        yield package


def _modules(path: Path) -> list[Path]:
    """The modules of a package, or the module itself."""
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences advice at each save: against pickle, which the user asked for, and on pip."""
    loggers = [logging.getLogger(f"mlflow.{name}") for name in ("sklearn", "utils.environment")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

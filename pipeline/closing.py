"""What a command says at its end: where to look at what it made, and what to type next."""

import json
import shlex
from collections.abc import Iterator

from mlflow.entities import Run

from pipeline.inference.model_folder import request
from pipeline.results import Dataset, Promotion
from pipeline.tracking import pages
from pipeline.verbs import Options

LONGEST_REQUEST = 1500  # characters of an example that is typed in a terminal
DOOR = "http://127.0.0.1:8080"  # where `serve` listens by default


def run_name(model: str, verb: str, decision: Promotion | None) -> str:
    """What the run of a command is called once it has ended: the outcome, in a few words."""
    if decision is not None:
        return f"{model} {decision.label}"
    return f"{model} {verb}" if verb in ("audit", "compare") else f"{model} {verb} only"


def text(run: Run, model: str, decision: Promotion | None, dataset: Dataset | None) -> str:
    """The pages of what was made, the commands that go on from there, and what was decided."""
    address = pages.address()
    lines = [f"  {what:<12} {address}/{page}" for what, page in _pages(run, model, decision)]
    if command := pages.command():
        lines.insert(0, f"look at it in the UI, which `{command}` starts:")
    else:
        lines.insert(0, "look at it:")
    if decision is not None and decision.version is not None:
        lines += ["go on with:", *(f"  {command}" for command in commands(model, dataset))]
    if decision is not None:
        lines.append(decision.sentence)  # last of all: what one looks for
    return "\n".join(lines)


def _pages(run: Run, model: str, decision: Promotion | None) -> Iterator[tuple[str, str]]:
    experiment, run_id = run.info.experiment_id, run.info.run_id
    yield "this run", pages.run(experiment, run_id)
    yield "all runs", pages.runs(experiment)
    if decision is None:
        return
    if len(set(decision.compared)) > 1:
        yield "compared", pages.comparison(experiment, decision.compared)
    if decision.candidate is not None and decision.candidate != decision.version:
        yield "kept out", pages.version(model, decision.candidate)
    if decision.version is not None:
        yield "champion", pages.version(model, decision.version)


def commands(model: str, dataset: Dataset | None) -> Iterator[str]:
    """What serves the champion, and what asks it for a row of its table."""
    yield f"python -m pipeline serve --registry.model {shlex.quote(model)}"
    example = "" if dataset is None else shlex.quote(_as_typed(request(dataset.examples(1))))
    if 0 < len(example) <= LONGEST_REQUEST:
        yield f"curl {DOOR}/invocations -H 'Content-Type: application/json' -d {example}"
    else:
        yield f"and open {DOOR}/docs, which has an example to send"


def promotion(run_id: str, options: Options) -> str:
    """What promotes the model of a run, with the config and the settings of this command."""
    return command("promote", options, "--run", run_id)


def command(verb: str, options: Options, *words: str) -> str:
    """Another command with the config and the settings of this one."""
    return shlex.join(["python", "-m", "pipeline", verb, *options.given, *words])


def _as_typed(body: str) -> str:
    """JSON whose whole numbers are written without `.0`, as people write them."""

    def number(text: str) -> float:
        return int(float(text)) if float(text).is_integer() else float(text)

    return json.dumps(json.loads(body, parse_float=number), ensure_ascii=False)

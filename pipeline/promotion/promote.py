"""From a decision to the registry, in an order that survives being killed anywhere.

The candidate's files and the record of the decision are on the disk and in the version before the
ledger has an entry, and the alias moves last. What was left undone is done by whoever promotes or
rolls back next.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mlflow.entities.model_registry import ModelVersion
from threadpoolctl import threadpool_limits

from pipeline.config.sections import Config
from pipeline.errors import FilesError
from pipeline.promotion import alias as champions
from pipeline.promotion import challenger as contest
from pipeline.promotion import examination, serve_check
from pipeline.promotion import promotion_log as ledger
from pipeline.promotion.author import author
from pipeline.promotion.challenger import Entrant
from pipeline.promotion.gate import Exam
from pipeline.promotion.promotion_log import Ledger
from pipeline.promotion.record import Record
from pipeline.promotion.select import decide, select
from pipeline.results import Candidate, Dataset, Decision, Outcome, Ruling, Verdict
from pipeline.tracking import registry
from pipeline.tracking.candidates import Candidates, count_models
from pipeline.verbs import Options

log = logging.getLogger(__name__)

ROWS = 20  # of the test part, in the proof
WITHOUT_FILES = "its model's files are gone, or are not what was logged"
MARKS = {True: "passed", False: "FAILED", None: "-"}


@dataclass(frozen=True)
class Promoter:
    """A promotion under way: who decides on what."""

    run_id: str
    config: Config
    dataset: Dataset
    candidates: Candidates  # one, if it was asked for
    options: Options

    @property
    def name(self) -> str:
        """The registered model's."""
        return self.config.registry.model

    def promote(self) -> Outcome:
        """Decides on the best candidate and carries it out; records both.

        Of two at the same moment the second decides again, on what the first has left.
        """
        with threadpool_limits(1):  # a few rows at a time: threads only cost
            while True:
                outcome = self._try()
                if outcome is not None:
                    return outcome
                log.info("promote: another promotion came first; deciding anew")

    def _try(self) -> Outcome | None:
        """None if the ledger has got another entry meanwhile."""
        known = ledger.read if self.options.dry_run else champions.caught_up
        line = known(self.name)
        champion = registry.champion(self.name)
        without_files: set[str] = set()  # parent runs
        while True:
            candidate, choice = self._select(without_files, line)
            if candidate is None:
                return self._stays("kept", champion, choice)
            try:
                return self._decide(candidate, choice, line, champion)
            except FilesError:
                without_files.add(candidate.run_id)
                if not self.candidates.has_other_than(without_files):
                    raise
                log.warning("promote: run %s is left out: %s", candidate.run_id, WITHOUT_FILES)

    def _decide(
        self,
        candidate: Candidate,
        choice: str,
        line: Ledger | None,
        champion: ModelVersion | None,
    ) -> Outcome | None:
        """Raises FilesError for a candidate whose files are not what was logged."""
        if champion is not None and champion.source == registry.source(candidate.model_id):
            if not self.options.dry_run:
                sealed = registry.add_manifest(champion, candidate.model_id)
                champions.answering(*registry.served(sealed))
            return self._stays("unchanged", champion, choice)
        if line is not None and not self.options.dry_run:
            ledger.check_rights(line, self.name)  # before the seconds of the gate
        with contest.of_candidate("the candidate", candidate) as entrant:
            exam = examination.examine(self.config, self.dataset, entrant, champion)
            decision = self._before_the_gate(candidate, choice, exam, champion)
            if line is None or self.options.dry_run:
                return self._only_told(self._with_proof(decision, entrant, None), champion)
            version = registry.register(self.name, candidate)
            decision = self._with_proof(decision, entrant, str(version.version))
        _tell(decision)
        record = self._recorded(decision, exam, version, champion)
        if not decision.passed:
            return self._stays("kept", champion, f"version {version.version}: {record.why}")
        if champions.enthrone(self.name, line, record.event()) is None:
            return None
        told = f"{self.name}: version {version.version} is champion now ({record.why})"
        return Outcome("promoted", str(version.version), told)

    def _before_the_gate(
        self, candidate: Candidate, choice: str, exam: Exam, champion: ModelVersion | None
    ) -> Decision:
        """A champion that no door serves any more is no reason to keep the gate shut."""
        why = ""
        if champion is not None and isinstance(exam.duel, str):
            why = contest.why_unusable(champion)
        if champion is None or not why:
            return decide(self.config, candidate, choice, exam)
        log.warning("promote: version %s, the champion, is unusable: %s", champion.version, why)
        told = f"version {champion.version}, the champion, is unusable: it is not compared"
        decision = decide(self.config, candidate, choice, replace(exam, duel=None))
        rulings = [
            replace(ruling, sentence=told) if ruling.rule == "gate.rule" else ruling
            for ruling in decision.rulings
        ]
        return replace(decision, rulings=tuple(rulings), claim="not compared")

    def _select(
        self, without_files: Collection[str], line: Ledger | None
    ) -> tuple[Candidate | None, str]:
        if self.options.run is not None:
            return self.candidates.latest(), f"asked for by its run {self.options.run}"
        rolled_back = line.rolled_back() if line else {}

        def choose(among: Sequence[Candidate], is_all: bool) -> tuple[Candidate | None, str]:
            return select(self.config.gate.primary, among, rolled_back, is_all)

        best, choice = self.candidates.choose(choose, without_files)
        gone = len(without_files)
        return best, f"{choice} ({gone} left out: without files)" if gone else choice

    def _stays(self, verdict: Verdict, champion: ModelVersion | None, why: str) -> Outcome:
        if champion is None:
            return Outcome(verdict, None, f"{self.name}: there is no champion; {why}")
        number = str(champion.version)
        return Outcome(verdict, number, f"{self.name}: version {number} stays champion; {why}")

    def _only_told(self, decision: Decision, champion: ModelVersion | None) -> Outcome:
        _tell(decision)
        would = "would become champion" if decision.passed else "would not become champion"
        run = decision.candidate.run_id
        told = f"{self.name}: the model of run {run} {would}; {'; '.join(decision.reasons)}"
        return Outcome("dry run", None if champion is None else str(champion.version), told)

    def _with_proof(self, decision: Decision, entrant: Entrant, number: str | None) -> Decision:
        """`number` is None for a candidate that is not registered."""
        rows = self.dataset.X_test.head(ROWS)
        is_full = self.config.gate.serve_check == "full"
        if number is None:
            decision = _with(decision, serve_check.of_files(self.name, entrant, rows))
            return _with(decision, serve_check.not_of_server()) if is_full else decision
        decision = _with(decision, serve_check.of_version(self.name, number, entrant, rows))
        if decision.passed and is_full:
            return _with(decision, serve_check.of_server(self.config, number, entrant, rows))
        return decision

    def _recorded(
        self, decision: Decision, exam: Exam, version: ModelVersion, champion: ModelVersion | None
    ) -> Record:
        from pipeline.promotion.publish import publish  # with matplotlib

        record = Record(
            config=self.config,
            dataset=self.dataset,
            exam=exam,
            decision=decision,
            version=str(version.version),
            champion=None if champion is None else str(champion.version),
            judged=count_models(self.dataset),
            reason=self.options.reason,
            by=author(),
            at=ledger.now(),
        )
        publish(record, self.run_id, version)
        return record


def _with(decision: Decision, ruling: Ruling) -> Decision:
    return replace(decision, rulings=(*decision.rulings, ruling))


def _tell(decision: Decision) -> None:
    log.info("promote: %s", decision.choice)
    for ruling in decision.rulings:
        log.info("  %-7s %s: %s", MARKS[ruling.passed], ruling.rule, ruling.sentence)

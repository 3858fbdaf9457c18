"""From a decision to the registry, in an order that survives being killed anywhere.

The candidate's files and the record of the decision are on the disk and in the version before the
promotion log has an entry, and the alias moves last. What was left undone is done by whoever
promotes or rolls back next.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mlflow.entities.model_registry import ModelVersion
from threadpoolctl import threadpool_limits

from pipeline.config.sections import Config
from pipeline.errors import FilesError
from pipeline.promotion import alias, challenger, promotion_log, serve_check, stored_model, wording
from pipeline.promotion.author import author
from pipeline.promotion.gate import Evidence
from pipeline.promotion.promotion_log import PromotionLog
from pipeline.promotion.record import Record
from pipeline.promotion.select import decide, select
from pipeline.promotion.stored_model import StoredModel
from pipeline.results import Action, Candidate, Dataset, Decision, Promotion, RuleResult
from pipeline.schema.rules import decode
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

    def promote(self) -> Promotion:
        """Decides on the best candidate and carries it out; records both.

        Of two at the same moment the second decides again, on what the first has left.
        """
        with threadpool_limits(1):  # a few rows at a time: threads only cost
            while True:
                promotion = self._try()
                if promotion is not None:
                    return promotion
                log.info("promote: another promotion came first; deciding anew")

    def _try(self) -> Promotion | None:
        """None if the promotion log has got another entry meanwhile."""
        read = promotion_log.read if self.options.dry_run else alias.catch_up
        promotions = read(self.name)
        champion = registry.champion(self.name)
        without_files: set[str] = set()  # parent runs
        while True:
            candidate, choice = self._select(without_files, promotions)
            if candidate is None:
                return self._stays("kept", champion, choice, "kept: no candidate")
            try:
                return self._decide(candidate, choice, promotions, champion)
            except FilesError:
                without_files.add(candidate.run_id)
                if not self.candidates.has_other_than(without_files):
                    raise
                log.warning("promote: run %s is left out: %s", candidate.run_id, WITHOUT_FILES)

    def _select(
        self, without_files: Collection[str], promotions: PromotionLog | None
    ) -> tuple[Candidate | None, str]:
        if self.options.run is not None:
            return self.candidates.latest(), f"asked for by its run {self.options.run}"
        rolled_back = promotions.rolled_back() if promotions else {}

        def choose(among: Sequence[Candidate], is_all: bool) -> tuple[Candidate | None, str]:
            return select(self.config.gate.primary, among, rolled_back, is_all)

        best, choice = self.candidates.choose(choose, without_files)
        gone = len(without_files)
        return best, f"{choice} ({gone} left out: without files)" if gone else choice

    def _decide(
        self,
        candidate: Candidate,
        choice: str,
        promotions: PromotionLog | None,
        champion: ModelVersion | None,
    ) -> Promotion | None:
        """Raises FilesError for a candidate whose files are not what was logged."""
        if champion is not None and champion.source == registry.source(candidate.model_id):
            if not self.options.dry_run:
                sealed = registry.add_manifest(champion, candidate.model_id)
                serve_check.verify(*registry.with_manifest(sealed))
            return self._stays("unchanged", champion, choice, f"v{champion.version} unchanged")
        if promotions is not None and not self.options.dry_run:
            promotion_log.check_rights(promotions, self.name)  # before the seconds of the gate
        with stored_model.of_candidate("the candidate", candidate) as model:
            evidence = challenger.gather_evidence(self.config, self.dataset, model, champion)
            decision = self._before_the_gate(candidate, choice, evidence, champion)
            if promotions is None or self.options.dry_run:
                return self._dry_run(self._with_serve_check(decision, model, None), champion)
            version = registry.register(self.name, candidate)
            decision = self._with_serve_check(decision, model, str(version.version))
        _log_decision(decision)
        record, page = self._recorded(decision, evidence, version, champion)
        outcome = self._carried_out(promotions, decision, record, champion)
        if outcome is None:
            return None
        runs = [candidate.run_id, *([str(champion.run_id)] if champion else [])]
        return replace(
            outcome,
            candidate=record.version,
            compared=tuple(runs),
            rules=decision.rules,
            card=page,
        )

    def _before_the_gate(
        self, candidate: Candidate, choice: str, evidence: Evidence, champion: ModelVersion | None
    ) -> Decision:
        """A champion that no door serves any more is no reason to keep the gate shut."""
        why = ""
        if champion is not None and isinstance(evidence.comparison, str):
            why = stored_model.why_unusable(champion)
        if champion is None or not why:
            return decide(self.config, candidate, choice, evidence)
        log.warning("promote: version %s, the champion, is unusable: %s", champion.version, why)
        message = f"version {champion.version}, the champion, is unusable: it is not compared"
        decision = decide(self.config, candidate, choice, replace(evidence, comparison=None))
        rules = [
            replace(rule, sentence=message) if rule.rule == "gate.rule" else rule
            for rule in decision.rules
        ]
        return replace(decision, rules=tuple(rules), claim="not compared")

    def _carried_out(
        self,
        promotions: PromotionLog,
        decision: Decision,
        record: Record,
        champion: ModelVersion | None,
    ) -> Promotion | None:
        """The alias moves, or stays where it is beside a candidate that is registered only."""
        if not decision.passed:
            why = wording.sentence(self.config.gate, decision)
            message = f"version {record.version} is kept out, as {why}"
            label = f"v{record.version} kept: {wording.label(decision)}"
            return self._stays("kept", champion, message, label)
        from pipeline.promotion.card import about

        text = about(self.config.data.source, self.dataset)
        if alias.move(self.name, promotions, record.event(), text) is None:
            return None
        message = f"{self.name}: version {record.version} is champion now ({record.why})"
        return Promotion("promoted", record.version, message, f"v{record.version} champion")

    def _stays(
        self, action: Action, champion: ModelVersion | None, why: str, label: str
    ) -> Promotion:
        if champion is None:
            return Promotion(action, None, f"{self.name}: there is no champion; {why}", label)
        number = str(champion.version)
        message = f"{self.name}: version {number} stays champion; {why}"
        return Promotion(action, number, message, label)

    def _dry_run(self, decision: Decision, champion: ModelVersion | None) -> Promotion:
        _log_decision(decision)
        would = "would become champion" if decision.passed else "would not become champion"
        run = decision.candidate.run_id
        message = f"{self.name}: the model of run {run} {would}; {'; '.join(decision.reasons)}"
        number = None if champion is None else str(champion.version)
        return Promotion("dry run", number, message, "dry run")

    def _with_serve_check(
        self, decision: Decision, model: StoredModel, number: str | None
    ) -> Decision:
        """`number` is None for a candidate that is not registered."""
        rows = decode(self.dataset.contract.columns, self.dataset.X_test.head(ROWS))
        is_full = self.config.gate.serve_check == "full"
        if number is None:
            decision = _with(decision, serve_check.of_files(self.name, model, rows))
            return _with(decision, serve_check.not_of_server()) if is_full else decision
        decision = _with(decision, serve_check.of_version(self.name, number, model, rows))
        if decision.passed and is_full:
            return _with(decision, serve_check.of_server(self.config, number, model, rows))
        return decision

    def _recorded(
        self,
        decision: Decision,
        evidence: Evidence,
        version: ModelVersion,
        champion: ModelVersion | None,
    ) -> tuple[Record, str]:
        """The record, and its page."""
        from pipeline.promotion.publish import publish  # with matplotlib

        record = Record(
            config=self.config,
            dataset=self.dataset,
            evidence=evidence,
            decision=decision,
            version=str(version.version),
            champion=None if champion is None else str(champion.version),
            evaluated=count_models(self.dataset),
            reason=self.options.reason,
            by=author(),
            at=promotion_log.now(),
        )
        return record, publish(record, self.run_id, version)


def _with(decision: Decision, rule: RuleResult) -> Decision:
    return replace(decision, rules=(*decision.rules, rule))


def _log_decision(decision: Decision) -> None:
    log.info("promote: %s", decision.choice)
    for rule in decision.rules:
        log.info("  %-7s %s: %s", MARKS[rule.passed], rule.rule, rule.sentence)

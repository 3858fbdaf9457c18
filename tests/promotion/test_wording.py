"""Why a candidate is kept out, for people."""

import re

import pytest

from pipeline.config.gate import Gate
from pipeline.promotion import wording
from pipeline.results import Candidate, Decision, RuleResult

PAIR = {"first": 0.7, "second": 0.8, "rows": 67.0}


def decision(*rules: RuleResult) -> Decision:
    return Decision(Candidate("r", "m", {}, {}, {}), "best of 1", rules, "maybe worse")


@pytest.mark.parametrize(
    ("rule", "figures", "label", "words"),
    [
        ("gate.rule", PAIR, "not better", "67 rows .* not proven as good as the champion .*0.7000"),
        ("gate.rule", {}, "not better", "^the gate's own$"),
        ("gate.primary", PAIR, "not better", "cross-validation .*log_loss 0.7000 against 0.8000"),
        ("gate.floors.accuracy", PAIR, "not good enough", "^the gate's own$"),
        ("gate.dummy", PAIR, "no better than guessing", "saying the same of every row"),
        (
            "gate.calibration",
            {"relative": 0.25, "rate": 0.35},
            "probabilities off",
            "off by 25% of the rate 0.350",
        ),
        ("gate.latency", PAIR, "too slow", "^the gate's own$"),
        ("reproduced", PAIR, "not as trained", "^the gate's own$"),
    ],
)
def test_broken_rule_has_a_label_and_a_sentence_without_statistics(rule, figures, label, words):
    kept = decision(
        RuleResult("other", True, "fine"), RuleResult(rule, False, "the gate's own", figures)
    )
    assert wording.label(kept) == label
    sentence = wording.sentence(Gate(), kept)
    assert re.search(words, sentence)
    assert "confidence" not in sentence


def test_superiority_is_said_to_ask_for_a_better_model():
    broken = decision(RuleResult("gate.rule", False, "", PAIR))
    assert "not proven better than" in wording.sentence(Gate(rule="superiority"), broken)

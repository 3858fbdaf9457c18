"""The line of champions over what goes wrong: killed, raced, moved by hand, rolled back."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from pipeline import flow
from pipeline.errors import ModelError, RegistryError, StoreError
from pipeline.promotion import alias, promotion_log, proof, serve_check, stored_model
from pipeline.results import Candidate
from pipeline.tracking import candidates, model_files, registry, runs
from pipeline.verbs import Options
from tests.support.promotion_lab import STRONG, WEAK, Lab, aliases, entry, latest, make_champions
from tests.support.stores import experiments


@pytest.fixture(autouse=True)
def _no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has tests of its own, and takes half of the time of a promotion."""
    monkeypatch.setattr(proof, "prove", lambda *_: (30, ""))


class Killed(BaseException):
    """The process ends here."""


@contextmanager
def killed_at(method: str, call: int, after: bool) -> Iterator[None]:
    """Ends at the n-th call of a method of the client, before it or after it."""
    original: Callable[..., Any] = getattr(MlflowClient, method)
    calls = 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            raise Killed
        result = original(*arguments, **options)
        if calls == call:
            raise Killed
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, method, counted)
        with pytest.raises(Killed):
            yield


def history(name: str) -> list[tuple[str, str | None, str | None]]:
    line = promotion_log.read(name)
    assert line is not None
    return [(event.action, event.version, event.before) for event in line.events]


POINTS = [
    *[("create_model_version", 1, after) for after in (False, True)],
    ("set_model_version_tag", 3, False),
    ("update_model_version", 1, True),
    *[("log_param", 1, after) for after in (False, True)],  # the ledger's entry
    ("set_registered_model_alias", 1, True),  # previous
    *[("set_registered_model_alias", 2, after) for after in (False, True)],  # champion
    ("log_param", 2, True),  # that it is done
]


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_killed_anywhere_the_champion_is_whole_and_the_next_run_does_the_rest(
    lab: Lab,
    client: MlflowClient,
    trained: dict[float, Candidate],
    point: tuple[str, int, bool],
):
    name = "-".join(map(str, point))
    make_champions(name, trained[WEAK])
    with killed_at(*point):
        lab.promote(lab.config(name, STRONG))

    number = aliases(client, name)["champion"]
    assert number in ("1", "2")
    serve_check.verify(*registry.promoted(name, number))
    version = client.get_model_version(name, number)
    assert version.status == "READY"
    if number == "2":
        assert version.tags["decision"] == "promoted"
        assert version.description.startswith(f"# {name} version 2")

    lab.promote(lab.config(name, STRONG))

    assert aliases(client, name) == {"champion": "2", "previous": "1"}
    assert history(name) == [("promoted", "1", None), ("promoted", "2", "1")]
    assert promotion_log.read(name).is_done
    assert len(client.search_model_versions(f"name = '{name}'")) == 2
    table = runs.read_artifact(promotion_log.read(name).run_id, alias.HISTORY).decode()
    assert [row.split(",")[2] for row in table.splitlines()[1:]] == ["1", "2"]


def test_of_two_at_the_same_moment_the_second_decides_anew(
    lab, client, trained, monkeypatch, caplog
):
    """While the weak one is judged, the strong one is promoted."""
    caplog.set_level("INFO")
    make_champions("raced", trained[0.03])
    original = alias.move
    others = [lab.config("raced", STRONG)]

    def beaten(*arguments: Any) -> Any:
        if others:
            with other_process():
                lab.promote(others.pop())
        return original(*arguments)

    monkeypatch.setattr(alias, "move", beaten)
    lab.promote(lab.config("raced", WEAK))

    assert "another promotion came first; deciding anew" in caplog.text
    assert aliases(client, "raced")["champion"] == "3"
    assert history("raced") == [("promoted", "1", None), ("promoted", "3", "1")]
    assert client.get_model_version("raced", "2").tags["decision"] == "kept"
    assert "version 3" in client.get_model_version("raced", "2").tags["reasons"]


@contextmanager
def other_process() -> Iterator[None]:
    """As if no run were active here."""
    import mlflow

    stack = mlflow.tracking.fluent._active_run_stack
    active = stack.get()
    stack.set([])
    try:
        yield
    finally:
        stack.set(active)


def test_one_who_moves_the_alias_late_moves_it_on_to_the_last_champion(
    client, trained, monkeypatch
):
    """Between its entry and its alias, another finished it and went further."""
    make_champions("late", trained[WEAK])
    line = promotion_log.read("late")
    version = registry.register("late", trained[STRONG])
    original = registry.set_aliases
    others = [True]

    def late(name: str, number: str | None, previous: str | None) -> None:
        if others and others.pop():
            with monkeypatch.context() as patch:
                patch.setattr(registry, "set_aliases", original)
                line = _caught_up(name)  # finishes the entry of the first
                alias.move(name, line, entry("1", str(version.version)))
        original(name, number, previous)

    monkeypatch.setattr(registry, "set_aliases", late)
    alias.move("late", line, entry(str(version.version), "1"))

    assert aliases(client, "late") == {"champion": "1", "previous": "2"}
    assert [version for _, version, _ in history("late")] == ["1", "2", "1"]


@pytest.fixture(scope="module")
def trained(lab, client) -> dict[float, Candidate]:
    """Of each C the model, evaluated."""
    result = {}
    for C in (0.03, WEAK, STRONG):
        lab.promote(lab.config("trained", C), dry_run=True)
        result[C] = candidates.candidate(
            candidates.of_run(latest(client).data.tags["mlflow.parentRunId"])
        )
    return result


@pytest.fixture
def three(client, trained, request) -> str:
    """A line of three alias."""
    name = re.sub(r"\W", "-", request.node.name)
    make_champions(name, trained[0.03], trained[WEAK], trained[STRONG])
    assert aliases(client, name) == {"champion": "3", "previous": "2"}
    return name


def rollback(lab: Lab, name: str, **options: Any) -> None:
    flow.rollback(lab.config(name, STRONG), Options(**options))


def test_rollback_goes_back_step_by_step_and_no_further_than_the_first(lab, client, three):
    rollback(lab, three, reason="it was too slow")
    assert aliases(client, three) == {"champion": "2", "previous": "1"}
    rollback(lab, three)
    assert aliases(client, three) == {"champion": "1"}
    with pytest.raises(RegistryError, match="has no champion before version 1 to go back to"):
        rollback(lab, three)
    assert history(three)[3:] == [("rolled back", "2", "3"), ("rolled back", "1", "2")]
    assert promotion_log.read(three).events[3].why == "it was too slow"
    gone, back = (client.get_model_version(three, number).tags for number in ("3", "1"))
    assert re.fullmatch(r"on 20\S+Z by .+, to version 2: it was too slow", gone["rolled_back"])
    assert re.fullmatch(r"on 20\S+Z by .+, after version 2", back["champion_again"])
    message = client.get_model_version(three, "3").description
    assert message.startswith(f"**Rolled back** {gone['rolled_back']}")
    (run,) = client.search_runs(
        experiments(client), "tags.verb = 'rollback' and tags.model_version = '2'", max_results=1
    )
    assert run.data.tags["decision"] == "rolled back"
    assert run.data.tags["decided_by"]


@pytest.mark.parametrize(
    "point",
    [
        ("log_param", 1, True),  # the ledger's entry
        ("set_model_version_tag", 2, False),
        ("set_registered_model_alias", 1, True),  # previous
        ("set_registered_model_alias", 2, True),  # champion
    ],
    ids=str,
)
def test_rollback_that_was_killed_is_finished_by_the_next_verb(
    lab: Lab, client: MlflowClient, three: str, point: tuple[str, int, bool]
):
    with killed_at(*point):
        rollback(lab, three, reason="it was too slow")
    lab.promote(lab.config(three, STRONG))
    assert aliases(client, three) == {"champion": "2", "previous": "1"}
    assert history(three)[3:] == [("rolled back", "2", "3")]
    gone, back = (client.get_model_version(three, number) for number in ("3", "2"))
    assert gone.tags["rolled_back"].endswith(", to version 2: it was too slow")
    assert gone.description.count("**Rolled back**") == 1
    assert back.tags["champion_again"].endswith(", after version 3: it was too slow")


def test_rollback_that_was_killed_is_finished_by_the_same_command(lab, client, three):
    with killed_at("set_registered_model_alias", 1, after=False):
        rollback(lab, three, reason="it was too slow")
    assert aliases(client, three)["champion"] == "3"
    rollback(lab, three, reason="it was too slow")
    assert aliases(client, three) == {"champion": "2", "previous": "1"}
    assert history(three)[3:] == [("rolled back", "2", "3")]


def test_rollback_passes_over_a_champion_that_was_deleted(lab, client, three):
    client.delete_model_version(three, "2")
    rollback(lab, three)
    assert aliases(client, three) == {"champion": "1"}
    with pytest.raises(RegistryError, match=f"'{three}' has no version 2; it has 1, 3$"):
        rollback(lab, three, version="2")


def test_rollback_after_the_alias_was_taken_away_is_to_the_last_champion(lab, client, three):
    client.delete_registered_model_alias(three, "champion")
    rollback(lab, three)
    assert aliases(client, three) == {"champion": "3", "previous": "2"}


def test_rollback_from_a_version_that_was_deleted(lab, client, three):
    client.delete_model_version(three, "3")
    rollback(lab, three, version="2")
    assert aliases(client, three) == {"champion": "2", "previous": "1"}
    assert history(three)[3:] == [("found", None, "3"), ("rolled back", "2", None)]


def test_model_that_was_rolled_back_returns_only_when_it_is_named(lab, client, three):
    rollback(lab, three, version="1")
    lab.promote(lab.config(three, STRONG))
    assert aliases(client, three) == {"champion": "1"}
    run = latest(client)
    assert "every candidate (1) was rolled back" in run.data.tags["mlflow.note.content"]
    parent = run.data.tags["mlflow.parentRunId"]
    lab.promote(lab.config(three, STRONG), run=parent)
    assert aliases(client, three) == {"champion": "3", "previous": "1"}


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("3", "version 3 is champion already"),
        ("9", "version 9 was never champion"),
        ("", "version  was never champion"),
    ],
)
def test_rollback_to_what_it_cannot_is_told(lab, client, three, version, message):
    with pytest.raises(RegistryError, match=message):
        rollback(lab, three, version=version)
    assert aliases(client, three) == {"champion": "3", "previous": "2"}


def test_rollback_of_a_model_without_a_history_is_told_and_makes_none(lab, client):
    with pytest.raises(RegistryError, match="'nobody' has had no champion yet"):
        rollback(lab, "nobody")
    assert client.search_registered_models("name = 'nobody'") == []


def test_rollback_to_a_version_that_was_tampered_with_is_refused(lab, client, three):
    with model_files.of(registry.model_id(three, "2")) as folder:
        content = (folder / "model.pkl").read_bytes()
        (folder / "model.pkl").write_bytes(b"no pickle")
        try:
            with pytest.raises(ModelError, match=r"model\.pkl was changed"):
                rollback(lab, three)
        finally:
            (folder / "model.pkl").write_bytes(content)
    assert aliases(client, three) == {"champion": "3", "previous": "2"}
    assert len(history(three)) == 3


def test_alias_that_was_moved_by_hand_is_noted_and_respected(lab, client, three):
    client.set_registered_model_alias(three, "champion", "1")
    line = _caught_up(three)
    assert history(three)[-1] == ("found", "1", "3")
    assert aliases(client, three)["champion"] == "1"
    assert line.earlier() == []


def test_alias_that_was_taken_away_by_hand_is_noted(lab, client, three):
    client.delete_registered_model_alias(three, "champion")
    _caught_up(three)
    assert history(three)[-1] == ("found", None, "3")
    lab.promote(lab.config(three, STRONG))
    assert aliases(client, three)["champion"] == "3"


def test_champion_from_before_the_ledger_is_noted_and_can_be_returned_to(lab, client, three):
    client.delete_run(promotion_log.read(three).run_id)
    _caught_up(three)
    assert history(three) == [("found", "3", None)]


def test_version_of_an_unfinished_entry_that_is_gone_does_not_stop_the_line(lab, client, three):
    line = promotion_log.read(three)
    assert promotion_log.append(line, entry("7", "3")) is not None  # and killed
    lab.promote(lab.config(three, STRONG))
    assert aliases(client, three)["champion"] == "3"
    assert history(three)[-1] == ("found", "3", "7")


def _caught_up(name: str) -> promotion_log.PromotionLog:
    with runs.parent_run("promote", "people"):
        return alias.catch_up(name)


@contextmanager
def refusing(*methods: str) -> Iterator[None]:
    """A store that forbids these calls, as a server does with an account that lacks the right."""

    def refuse(*_: Any, **__: Any) -> None:
        raise MlflowException(
            "API request to endpoint /api/2.0/mlflow/registered-models/alias failed with error "
            "code 403 != 200. Response body: 'Permission denied'",
            PERMISSION_DENIED,
        )

    with pytest.MonkeyPatch.context() as patch:
        for method in methods:
            patch.setattr(MlflowClient, method, refuse)
        yield


MOVING = ("set_registered_model_alias", "delete_registered_model_alias")
EDITING = ("set_registered_model_tag", "set_model_version_tag", "update_model_version", *MOVING)


def test_rollback_of_one_who_may_not_edit_the_model_leaves_no_entry(lab, client, three):
    message = f"does not have the right EDIT on the registered model '{three}'"
    with refusing(*EDITING), pytest.raises(StoreError, match=message):
        rollback(lab, three)
    lab.promote(lab.config(three, STRONG))  # of a colleague, who may
    assert aliases(client, three) == {"champion": "3", "previous": "2"}
    assert len(history(three)) == 3


def test_promotion_of_one_who_may_not_edit_the_model_ends_before_the_gate(
    lab, client, trained, monkeypatch
):
    make_champions("forbidden", trained[WEAK])
    monkeypatch.setattr(stored_model, "of_candidate", lambda *_: pytest.fail("the gate was asked"))
    with refusing(*EDITING), pytest.raises(StoreError, match="right EDIT on the registered model"):
        lab.promote(lab.config("forbidden", STRONG))
    assert len(client.search_model_versions("name = 'forbidden'")) == 1


def test_one_who_may_not_write_to_the_history_is_told_whose_it_is(lab, three):
    line = promotion_log.read(three)
    message = f"does not have the right EDIT on the run '{line.run_id}'"
    with refusing("set_tag"), pytest.raises(StoreError, match=message):
        promotion_log.check_rights(line, three)


@pytest.mark.parametrize("refused", [MOVING[:1], ("log_artifacts",)])
def test_entry_that_the_store_refuses_to_carry_out_is_withdrawn(lab, client, three, refused):
    line = promotion_log.read(three)
    with refusing(*refused), pytest.raises(MlflowException, match="Permission denied"):
        alias.move(three, line, entry("1", "3"))
    assert aliases(client, three) == {"champion": "3", "previous": "2"}
    withdrawn = promotion_log.read(three)
    assert (withdrawn.events, withdrawn.is_done) == (line.events, True)
    lab.promote(lab.config(three, STRONG))
    assert aliases(client, three) == {"champion": "3", "previous": "2"}
    rollback(lab, three)
    assert history(three)[3:] == [("rolled back", "2", "3")]
    assert aliases(client, three) == {"champion": "2", "previous": "1"}


def test_entry_that_is_withdrawn_while_another_carries_it_out_is_undone_by_the_other(
    lab, client, three, monkeypatch
):
    entered = promotion_log.append(
        promotion_log.read(three), entry("1", "3")
    )  # its author is refused
    original = registry.set_aliases
    others = [True]

    def late(name: str, number: str | None, previous: str | None) -> None:
        original(name, number, previous)
        if others and others.pop():
            assert promotion_log.withdraw(entered)

    monkeypatch.setattr(registry, "set_aliases", late)
    _caught_up(three)
    assert aliases(client, three) == {"champion": "3", "previous": "2"}
    assert len(history(three)) == 3


def test_entry_that_was_carried_out_cannot_be_withdrawn(three):
    assert not promotion_log.withdraw(promotion_log.read(three))
    assert len(history(three)) == 3


def test_who_finishes_the_entry_of_another_is_told_whose_it_is_and_what(lab, three, caplog):
    left = replace(entry("2", "3"), action="rolled back", by="Bob")
    assert promotion_log.append(promotion_log.read(three), left) is not None  # and killed
    lab.promote(lab.config(three, STRONG))
    message = f"finishing what was left undone: version 2, rolled back by Bob on {left.at}, after"
    assert message in caplog.text


def test_one_who_may_not_delete_rolls_back_to_the_first_champion(lab, client, three):
    rollback(lab, three, version="2")
    with refusing("delete_registered_model_alias"):
        rollback(lab, three)
    assert aliases(client, three) == {"champion": "1", "previous": "1"}  # it names no other
    with pytest.raises(RegistryError, match="has no champion before version 1 to go back to"):
        rollback(lab, three)


def test_alias_that_is_not_there_is_not_deleted(client, trained):
    with refusing("delete_registered_model_alias"):
        make_champions("undeleted", trained[WEAK])
    assert aliases(client, "undeleted") == {"champion": "1"}


def test_history_of_nobody_is_told(lab, client, caplog):
    caplog.set_level("INFO")
    flow.history(lab.config("nobody-yet", STRONG))
    assert "nobody-yet has no history yet" in caplog.text

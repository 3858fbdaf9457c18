"""The ledger in a real store, with no model behind it."""

from dataclasses import replace
from threading import Barrier, Thread

import pytest
from mlflow import MlflowClient

from pipeline.errors import RegistryError
from pipeline.promotion import promotion_log
from pipeline.promotion.promotion_log import PromotionLog
from pipeline.results import Event


def event(version: str | None, before: str | None = None, action: str = "promoted") -> Event:
    return Event(
        action, version, before, "2026-11-25T12:00:00.000Z", "me", "why", "", f"m-{version}"
    )


def line(*events: Event) -> PromotionLog:
    return PromotionLog("", events, is_done=True)


def promoted(*versions: str) -> list[Event]:
    """Each after the one before."""
    return [event(now, before) for before, now in zip((None, *versions), versions, strict=False)]


@pytest.mark.parametrize(
    ("events", "before"),
    [
        ([], None),
        (promoted("1"), None),
        (promoted("1", "2", "3"), "2"),
        ([event("2", "1")], "1"),  # a champion from before the ledger
        ([*promoted("1", "2", "3"), event("2", "3", "rolled back")], "1"),
        (
            [
                *promoted("1", "2", "3"),
                event("2", "3", "rolled back"),
                event("1", "2", "rolled back"),
            ],
            None,
        ),
        ([*promoted("1", "2", "3"), event("2", "3", "rolled back"), event("4", "2")], "2"),
        (
            [
                *promoted("1", "2", "3"),
                event("1", "3", "rolled back"),
                event("3", "1", "rolled back"),
            ],
            None,  # both others had to go
        ),
        (
            [
                *promoted("1", "2", "3"),
                event("2", "3", "rolled back"),
                event("4", "2"),
                event("3", "4", "rolled back"),
            ],
            "2",
        ),
        ([*promoted("1", "2", "3"), event(None, "3", "found")], "3"),
        ([*promoted("1", "2"), event("5", "2", "found")], "2"),
        ([*promoted("1", "2"), event(None, "2", "found"), event("3", None)], "2"),
        ([*promoted("1", "2"), event("1", "2")], "2"),  # promoted anew
    ],
)
def test_champion_to_go_back_to_is_the_one_before_without_those_rolled_back(events, before):
    assert next(iter(line(*events).earlier()), None) == before


def test_models_rolled_back_are_out_until_they_are_promoted_again():
    events = [*promoted("1", "2"), event("1", "2", "rolled back")]
    assert line(*events).rolled_back() == {"m-2": {}}
    assert line(*events, event("2", "1")).rolled_back() == {}
    assert line(*events, event("2", "1", "rolled back")).rolled_back() == {"m-1": {}}
    assert line(*promoted("1", "2"), event("1", "2", "found")).rolled_back() == {}


def test_model_that_was_rolled_back_is_back_when_it_is_trained_again_and_promoted():
    """Its twin has the same metrics."""
    one, two = ({"cv/log_loss": loss} for loss in (0.5, 0.4))
    first, second = promoted("1", "2")
    events = [replace(first, metrics=one), replace(second, metrics=two)]
    events.append(event("1", "2", "rolled back"))
    assert line(*events).rolled_back() == {"m-2": two}
    twin = replace(event("3", "1"), metrics=two)
    assert line(*events, twin).rolled_back() == {}


def test_there_is_no_ledger_before_it_is_begun(client: MlflowClient):
    assert promotion_log.read("nobody") is None


def test_ledger_keeps_what_is_appended_in_order(client):
    begun = promotion_log.begin("kept", "0")
    first = promotion_log.append(begun, event("1"))
    second = promotion_log.append(promotion_log.done(first), event("2", "1"))
    assert not second.is_done
    assert promotion_log.read("kept") == second
    assert promotion_log.read("kept").last == event("2", "1")
    assert promotion_log.read("kept").is_done is False
    promotion_log.done(second)
    assert promotion_log.read("kept").is_done
    assert promotion_log.begin("kept", "0") == promotion_log.read("kept")


def test_second_entry_at_the_same_place_is_refused(client):
    begun = promotion_log.begin("taken", "0")
    assert promotion_log.append(begun, event("1")) is not None
    assert promotion_log.append(begun, event("2")) is None
    assert promotion_log.read("taken").events == (event("1"),)


def test_of_many_at_the_same_moment_one_enters(client):
    begun = promotion_log.begin("many", "0")
    barrier, entered = Barrier(6), []

    def enter(number: str) -> None:
        barrier.wait()
        if promotion_log.append(begun, event(number)) is not None:
            entered.append(number)

    threads = [Thread(target=enter, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.version for one in promotion_log.read("many").events] == entered
    assert len(entered) == 1


def test_many_that_begin_at_the_same_moment_share_one_ledger(client):
    barrier, begun = Barrier(6), []

    def begin() -> None:
        barrier.wait()
        begun.append(promotion_log.begin("begun", "0").run_id)

    threads = [Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 6
    assert set(begun) == {promotion_log.read("begun").run_id}


def test_done_twice_is_done_once(client):
    entered = promotion_log.append(promotion_log.begin("twice", "0"), event("1"))
    promotion_log.done(entered)
    promotion_log.done(entered)
    assert promotion_log.read("twice").is_done


def test_deleted_ledger_is_begun_anew(client):
    gone = promotion_log.append(promotion_log.begin("gone", "0"), event("1"))
    client.delete_run(gone.run_id)
    assert promotion_log.read("gone") is None
    assert promotion_log.append(gone, event("2")) is None
    anew = promotion_log.begin("gone", "0")
    assert anew.run_id != gone.run_id
    assert anew.events == ()


def test_model_registered_by_hand_gets_a_ledger(client):
    client.create_registered_model("by-hand")
    begun = promotion_log.begin("by-hand", "0")
    assert promotion_log.read("by-hand") == begun


def test_long_reason_is_cut_to_what_the_store_keeps(client):
    entered = promotion_log.append(
        promotion_log.begin("long", "0"), replace(event("1"), why="x" * 9000)
    )
    assert (
        promotion_log.read("long").last.why
        == entered.last.why
        == "x" * (promotion_log.LONGEST_REASON - 1) + "…"
    )


def test_more_than_nine_entries_keep_their_order(client):
    known = promotion_log.begin("order", "0")
    for number in range(12):
        known = promotion_log.done(promotion_log.append(known, event(str(number))))
    assert [one.version for one in promotion_log.read("order").events] == [
        str(n) for n in range(12)
    ]


def test_ledger_of_a_prompt_is_not_begun(client):
    client.register_prompt("prompt", "Hello {{name}}")
    with pytest.raises(RegistryError, match="the registry has a prompt of that name"):
        promotion_log.begin("prompt", "0")

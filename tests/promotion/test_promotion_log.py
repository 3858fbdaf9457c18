"""The promotion log in a real store, with no model behind it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

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


def log_of(*events: Event) -> PromotionLog:
    return PromotionLog("", events, is_done=True)


def promoted(*versions: str) -> list[Event]:
    """Each after the one before."""
    return [event(now, before) for before, now in zip((None, *versions), versions, strict=False)]


def rolled_back(version: str, before: str) -> Event:
    return event(version, before, "rolled back")


THREE = promoted("1", "2", "3")


@pytest.mark.parametrize(
    ("events", "before"),
    [
        ([], None),
        (promoted("1"), None),
        (THREE, "2"),
        ([event("2", "1")], "1"),  # a champion from before the promotion log
        ([*THREE, rolled_back("2", "3")], "1"),
        ([*THREE, rolled_back("2", "3"), rolled_back("1", "2")], None),
        ([*THREE, rolled_back("2", "3"), event("4", "2")], "2"),
        ([*THREE, rolled_back("1", "3"), rolled_back("3", "1")], None),  # both others had to go
        ([*THREE, rolled_back("2", "3"), event("4", "2"), rolled_back("3", "4")], "2"),
        ([*THREE, event(None, "3", "found")], "3"),
        ([*promoted("1", "2"), event("5", "2", "found")], "2"),
        ([*promoted("1", "2"), event(None, "2", "found"), event("3", None)], "2"),
        ([*promoted("1", "2"), event("1", "2")], "2"),  # promoted anew
    ],
)
def test_champion_to_go_back_to_is_the_one_before_without_those_rolled_back(events, before):
    assert next(iter(log_of(*events).earlier()), None) == before


def test_models_rolled_back_are_out_until_they_are_promoted_again():
    events = [*promoted("1", "2"), event("1", "2", "rolled back")]
    assert log_of(*events).rolled_back() == {"m-2": {}}
    assert log_of(*events, event("2", "1")).rolled_back() == {}
    assert log_of(*events, event("2", "1", "rolled back")).rolled_back() == {"m-1": {}}
    assert log_of(*promoted("1", "2"), event("1", "2", "found")).rolled_back() == {}


def test_model_that_was_rolled_back_is_back_when_it_is_trained_again_and_promoted():
    """Its twin has the same metrics."""
    one, two = ({"cv/log_loss": loss} for loss in (0.5, 0.4))
    first, second = promoted("1", "2")
    events = [replace(first, metrics=one), replace(second, metrics=two)]
    events.append(event("1", "2", "rolled back"))
    assert log_of(*events).rolled_back() == {"m-2": two}
    twin = replace(event("3", "1"), metrics=two)
    assert log_of(*events, twin).rolled_back() == {}


def test_there_is_no_log_before_it_is_begun(client: MlflowClient):
    assert promotion_log.read("nobody") is None


def test_log_keeps_what_is_appended_in_order(client):
    begun = promotion_log.begin("in order", "0")
    first = promotion_log.append(begun, event("1"))
    second = promotion_log.append(promotion_log.done(first), event("2", "1"))
    assert not second.is_done
    assert promotion_log.read("in order") == second
    assert promotion_log.read("in order").last == event("2", "1")
    assert promotion_log.read("in order").is_done is False
    promotion_log.done(second)
    assert promotion_log.read("in order").is_done
    assert promotion_log.begin("in order", "0") == promotion_log.read("in order")


def test_second_entry_at_the_same_place_is_refused(client):
    begun = promotion_log.begin("taken", "0")
    assert promotion_log.append(begun, event("1")) is not None
    assert promotion_log.append(begun, event("2")) is None
    assert promotion_log.read("taken").events == (event("1"),)


def at_the_same_moment(call: Callable[[int], object]) -> list[object]:
    """What six threads got that waited for each other."""
    barrier = Barrier(6)

    def wait_and_call(number: int) -> object:
        barrier.wait()
        return call(number)

    with ThreadPoolExecutor(6) as pool:
        return list(pool.map(wait_and_call, range(6)))


def test_of_many_at_the_same_moment_one_enters(client):
    begun = promotion_log.begin("many", "0")
    logs = at_the_same_moment(lambda number: promotion_log.append(begun, event(str(number))))
    (entered,) = [log for log in logs if log is not None]
    assert promotion_log.read("many").events == entered.events
    assert len(entered.events) == 1


def test_many_that_begin_at_the_same_moment_share_one_log(client):
    run_ids = at_the_same_moment(lambda _: promotion_log.begin("begun", "0").run_id)
    assert set(run_ids) == {promotion_log.read("begun").run_id}


def test_done_twice_is_done_once(client):
    entered = promotion_log.append(promotion_log.begin("twice", "0"), event("1"))
    promotion_log.done(entered)
    promotion_log.done(entered)
    assert promotion_log.read("twice").is_done


def test_deleted_log_is_begun_anew(client):
    gone = promotion_log.append(promotion_log.begin("gone", "0"), event("1"))
    client.delete_run(gone.run_id)
    assert promotion_log.read("gone") is None
    assert promotion_log.append(gone, event("2")) is None
    anew = promotion_log.begin("gone", "0")
    assert anew.run_id != gone.run_id
    assert anew.events == ()


def test_model_registered_by_hand_gets_a_log(client):
    client.create_registered_model("by-hand")
    begun = promotion_log.begin("by-hand", "0")
    assert promotion_log.read("by-hand") == begun


def test_long_reason_is_cut_to_what_the_store_keeps(client):
    begun = promotion_log.begin("long", "0")
    entered = promotion_log.append(begun, replace(event("1"), why="x" * 9000))
    reason = "x" * (promotion_log.LONGEST_REASON - 1) + "…"
    assert promotion_log.read("long").last.why == entered.last.why == reason


def test_more_than_nine_entries_keep_their_order(client):
    log = promotion_log.begin("order", "0")
    for number in range(12):
        log = promotion_log.done(promotion_log.append(log, event(str(number))))
    versions = [one.version for one in promotion_log.read("order").events]
    assert versions == [str(number) for number in range(12)]


def test_log_of_a_prompt_is_not_begun(client):
    client.register_prompt("prompt", "Hello {{name}}")
    with pytest.raises(RegistryError, match="the registry has a prompt of that name"):
        promotion_log.begin("prompt", "0")

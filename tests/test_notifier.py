"""Notifier lists: order, refusal, taking back, and lifetimes."""

import weakref

import pytest

from gicv3.errors import ConfigError, GicError
from gicv3.notifier import Notifier, NotifierList


class Recorder(Notifier):
    """Notes what it is told; refuses the data given as `refuses`."""

    def __init__(self, name, log, refuses=None):
        super().__init__()
        self.name = name
        self.log = log
        self.refuses = refuses

    def notify(self, data):
        self.log.append((self.name, data))
        if data == self.refuses:
            raise ValueError(f"{self.name} refuses {data}")


def build(names, log, **refusals):
    members = NotifierList()
    notifiers = [Recorder(name, log, refusals.get(name)) for name in names]
    for notifier in notifiers:
        members.add(notifier)
    return members, notifiers


def test_members_are_told_in_the_order_they_were_added():
    log = []
    members, _ = build("abc", log)
    members.notify(1)
    assert log == [("a", 1), ("b", 1), ("c", 1)]


def test_reverse_tells_the_last_added_first():
    log = []
    members, _ = build("abc", log)
    members.notify(1, reverse=True)
    assert log == [("c", 1), ("b", 1), ("a", 1)]


def test_a_plain_notifier_calls_its_callback():
    told = []
    members = NotifierList()
    members.add(Notifier(told.append))
    members.add(Notifier())
    members.notify("event")
    assert told == ["event"]


def test_a_fresh_list_is_empty_and_notifying_it_does_nothing():
    members = NotifierList()
    assert len(members) == 0
    assert list(members) == []
    members.notify(1)


def test_init_empties_the_list_and_frees_its_members():
    log = []
    members, (notifier, _) = build("ab", log)
    members.init()
    members.notify(1)
    assert log == []
    assert notifier not in members
    NotifierList().add(notifier)


def test_a_removed_member_is_not_told_and_the_others_keep_their_order():
    log = []
    members, (_, b, _) = build("abc", log)
    members.remove(b)
    members.notify(1)
    assert log == [("a", 1), ("c", 1)]
    members.add(b)
    members.notify(2)
    assert log[2:] == [("a", 2), ("c", 2), ("b", 2)]


def test_adding_a_member_twice_is_an_error_on_the_same_list_and_on_another():
    members, (notifier,) = build("a", [])
    with pytest.raises(GicError, match="one list only"):
        members.add(notifier)
    with pytest.raises(GicError, match="one list only"):
        NotifierList().add(notifier)
    assert len(members) == 1


def test_removing_what_is_not_on_the_list_changes_nothing():
    log = []
    members, (_,) = build("a", log)
    other, (stranger,) = build("s", log)
    members.remove(stranger)
    members.remove(Notifier())
    assert len(members) == 1
    assert stranger in other


def test_remove_is_safe_never_added_twice_and_after_the_list_went():
    notifier = Notifier()
    notifier.remove()
    members = NotifierList()
    members.add(notifier)
    notifier.remove()
    notifier.remove()
    assert len(members) == 0
    members.add(notifier)
    del members
    notifier.remove()
    NotifierList().add(notifier)


def test_list_and_members_do_not_keep_the_list_alive():
    members = NotifierList()
    notifier = Notifier()
    members.add(notifier)
    gone = weakref.ref(members)
    del members
    assert gone() is None


def test_a_refusal_ends_a_transaction_and_takes_it_back_in_the_opposite_order():
    log = []
    members, _ = build("abcd", log, c=5)
    with pytest.raises(ValueError, match="c refuses 5"):
        members.notify(5, undo=lambda data: -data)
    assert log == [("a", 5), ("b", 5), ("c", 5), ("b", -5), ("a", -5)]


def test_the_first_member_may_refuse_with_nobody_to_take_it_back():
    log = []
    members, _ = build("ab", log, a=5)
    with pytest.raises(ValueError, match="a refuses 5"):
        members.notify(5, undo=lambda data: -data)
    assert log == [("a", 5)]


def test_a_reverse_transaction_is_taken_back_forwards():
    log = []
    members, _ = build("abc", log, a=5)
    with pytest.raises(ValueError, match="a refuses 5"):
        members.notify(5, undo=lambda data: -data, reverse=True)
    assert log == [("c", 5), ("b", 5), ("a", 5), ("b", -5), ("c", -5)]


def test_a_failure_while_taking_back_is_reported_with_the_first_and_stops_nobody():
    log = []
    members, _ = build("abc", log, b=-5, c=5)
    with pytest.raises(ExceptionGroup) as caught:
        members.notify(5, undo=lambda data: -data)
    assert [str(error) for error in caught.value.exceptions] == ["c refuses 5", "b refuses -5"]
    assert log == [("a", 5), ("b", 5), ("c", 5), ("b", -5), ("a", -5)]


def test_a_fact_is_told_to_all_whatever_some_raise():
    log = []
    members, _ = build("abc", log, a=5)
    with pytest.raises(ValueError, match="a refuses 5"):
        members.notify(5)
    assert [name for name, _ in log] == ["a", "b", "c"]


def test_several_errors_about_a_fact_come_as_a_group():
    members, _ = build("abc", [], a=5, c=5)
    with pytest.raises(ExceptionGroup) as caught:
        members.notify(5)
    assert [str(error) for error in caught.value.exceptions] == ["a refuses 5", "c refuses 5"]


@pytest.mark.parametrize("undo", [None, str])
def test_a_member_removed_during_a_round_is_not_told_and_one_added_waits_for_the_next(undo):
    log = []
    members = NotifierList()
    second = Recorder("second", log)
    late = Recorder("late", log)

    def meddle(data):
        if data == 1:
            members.remove(second)
            members.add(late)

    members.add(Notifier(meddle))
    members.add(second)
    members.notify(1, undo=undo)
    assert log == []
    members.notify(2, undo=undo)
    assert log == [("late", 2)]


def test_a_removed_member_is_not_kept_alive():
    members, notifiers = build("ab", [])
    members.notify(1)
    gone = weakref.ref(notifiers[0])
    members.remove(notifiers.pop(0))
    assert gone() is None


def test_a_member_may_remove_itself_while_it_is_told():
    log = []
    members = NotifierList()

    def once(data):
        log.append(data)
        notifier.remove()

    notifier = Notifier(once)
    members.add(notifier)
    members.notify(1)
    members.notify(2)
    assert log == [1]


def test_ten_thousand_members_leave_in_any_order():
    members = NotifierList()
    notifiers = [Notifier() for _ in range(10_000)]
    for notifier in notifiers:
        members.add(notifier)
    for notifier in notifiers[::-2]:
        notifier.remove()
    assert list(members) == notifiers[::2]


def test_a_notifier_calls_a_callable():
    with pytest.raises(ConfigError, match="notify must be callable or None, got 5"):
        Notifier(5)

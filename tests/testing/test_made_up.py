"""The made-up data have the answer that they are said to have, and their controls have none."""

from itertools import pairwise

import pytest

from recbole_diffusion.testing.made_up import chain, checkerboard, write


def histories(rows):
    found = {}
    for user, item, _, time in rows:
        assert len(found.setdefault(user, [])) == time
        found[user].append(int(item[1:]))
    return found.values()


@pytest.mark.parametrize("follow, low, high", [(1.0, 1, 1), (0.5, 0.4, 0.7), (0.0, 0.03, 0.15)])
def test_in_a_chain_an_item_is_followed_by_the_next_as_often_as_said(follow, low, high):
    steps = [(a, b) for items in histories(chain(follow=follow)) for a, b in pairwise(items)]
    assert low <= sum(b == (a + 1) % 12 for a, b in steps) / len(steps) <= high


def test_the_last_two_rows_of_a_chain_are_buys_and_others_are_not_all():
    behaviors = {time: {b for _, _, b, at in chain() if at == time} for time in range(8)}
    assert behaviors[6] == behaviors[7] == {"buy"}
    assert behaviors[0] == {"view", "buy"}


def test_users_of_a_checkerboard_have_all_items_of_their_parity_and_shuffled_ones_any_half():
    for user, items in enumerate(histories(checkerboard())):
        assert sorted(items) == list(range(user % 2, 20, 2))
    mixed = [len({item % 2 for item in items}) for items in histories(checkerboard(shuffled=True))]
    assert len(mixed) == 60 and min(mixed) == 2


def test_rows_are_written_as_an_atomic_file_or_a_part_of_one(tmp_path):
    file = write(tmp_path, "tiny", [("u1", "i2", "buy", 3)])
    assert file == tmp_path / "tiny" / "tiny.inter"
    assert file.read_text() == (
        "user_id:token\titem_id:token\tbehavior:token\ttimestamp:float\nu1\ti2\tbuy\t3\n"
    )
    file = write(tmp_path, "tiny", [("u1", "i2")], "user_id:token item_id:token", part="test")
    assert file.name == "tiny.test.inter" and file.read_text().splitlines()[1] == "u1\ti2"

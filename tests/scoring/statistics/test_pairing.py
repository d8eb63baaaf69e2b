import numpy as np
import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.scoring.statistics.pairing import check_same, check_unique, strangers
from musicgen_lite.sources.splits import from_few_groups, split_halves
from tests.support.standins import ring


@pytest.mark.parametrize("n", [2, 3, 10, 101])
def test_everyone_gets_another_and_is_anothers_once(n: int) -> None:
    for seed in range(5):
        partner = strangers(range(n), seed)
        assert partner is not None
        assert np.array_equal(partner, ring(n, seed))
        assert sorted(partner) == list(range(n))
        assert (partner != np.arange(n)).all()


@pytest.mark.parametrize("sizes", [(5, 5), (3, 1, 2, 3), (1, 2, 6, 4), (24, 1), (10, 1, 1, 1)])
def test_another_is_always_of_another_group(sizes: tuple[int, ...]) -> None:
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    for seed in range(20):
        partner = strangers(groups.tolist(), seed)
        assert partner is not None
        assert (groups[partner] != groups).all()
        taken = np.bincount(partner, minlength=len(groups))
        if 2 * max(sizes) <= len(groups):
            assert (taken == 1).all()
        else:  # the few others of the large group take turns
            few = taken[groups != np.argmax(sizes)]
            assert few.max() - few.min() <= 1


def test_in_one_group_there_is_no_other() -> None:
    assert strangers(["a"], 0) is None
    assert strangers(["a"] * 9, 0) is None


def test_ids_are_checked_by_name() -> None:
    check_unique(["a", "b"], "clips")
    with pytest.raises(UserError, match="clips: the id 'a' occurs twice"):
        check_unique(["a", "b", "a"], "clips")
    with pytest.raises(UserError, match="1 clip"):
        check_unique(["a"], "clips")
    with pytest.raises(UserError, match=r"picks: no entry for 1 id\(s\), such as 'b'"):
        check_same(["a", "b"], ["a"], "picks")
    with pytest.raises(UserError, match="unexpected entry for 1"):
        check_same(["a"], ["a", "c"], "picks")


def test_halves_share_no_track_and_are_about_equal() -> None:
    tracks = [f"t{i // 3}" for i in range(60)] + ["long"] * 5
    reference = split_halves(tracks, seed=0)
    by_half = [{t for t, r in zip(tracks, reference, strict=True) if r == side} for side in (True, False)]
    assert not by_half[0] & by_half[1]
    assert abs(reference.sum() - 32) <= 4
    order = np.random.default_rng(1).permutation(len(tracks))
    assert np.array_equal(split_halves([tracks[i] for i in order], seed=0), reference[order])
    assert split_halves([f"t{i}" for i in range(128)], seed=0).sum() == 64
    assert split_halves(["a", "b"], seed=0).sum() == 1


@pytest.mark.parametrize("place", range(4))
def test_a_long_track_leaves_each_half_several(place: int) -> None:
    counts = [3, 4, 2, 5]
    counts[place] = 100
    tracks = [name for name, count in zip("abcd", counts, strict=True) for _ in range(count)]
    for seed in range(8):
        reference = split_halves(tracks, seed)
        halves = [{t for t, r in zip(tracks, reference, strict=True) if r == side} for side in (True, False)]
        assert [len(half) for half in halves] == [2, 2]


def test_one_track_cannot_be_halved() -> None:
    with pytest.raises(UserError, match=r"1 track.*test_fraction"):
        split_halves(["a", "a"], seed=0)


def test_few_groups_stand_for_every_id_without_repetition() -> None:
    pool = {f"p{i:02d}": f"genre{i % 8}" for i in range(80)}
    ids = [f"c{i}" for i in range(18)]
    found = from_few_groups(ids, pool, 0)
    assert set(found) == set(ids)
    assert len(set(found.values())) == 18
    assert len({pool[clip] for clip in found.values()}) == 2
    assert found == from_few_groups(ids[::-1], dict(reversed(pool.items())), 0)
    assert found != from_few_groups(ids, pool, 1)
    with pytest.raises(UserError, match=r"10 training clips of genre\d: 18 are needed"):
        from_few_groups(ids, {clip: g for clip, g in pool.items() if g < "genre4"}, 0)
    with pytest.raises(UserError, match="1 genre among 80"):
        from_few_groups(ids, dict.fromkeys(pool, "pop"), 0)

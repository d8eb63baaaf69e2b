"""What a clip can be described by."""

from collections import Counter

from musicgen_lite.text.variants import SHUFFLES, SUFFIXES, text_variants

ASPECTS = ["loud", "e-bass", "fast tempo", "no voice", "rock"]


def texts(clip: str, aspects: list[str], *variants: str) -> dict[str, str]:
    return {one.key: one.text for one in text_variants(clip, "A loud song.", aspects, variants)}


def test_every_variant_is_worded_as_it_says() -> None:
    found = texts("c1", ASPECTS, "caption", "aspects", "both")
    assert found == {
        "c1": "A loud song.",
        "c1/aspects": "loud, e-bass, fast tempo, no voice, rock",
        "c1/both": "A loud song. loud, e-bass, fast tempo, no voice, rock",
    }


def test_shuffled_holds_the_same_aspects_in_orders_of_the_clip_s_own() -> None:
    orders = [tuple(one.split(", ")) for n in range(600) for one in texts(f"c{n}", ASPECTS, "shuffled").values()]
    assert len(orders) == 600 * SHUFFLES
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(ASPECTS))}
    # All 120 orders, each about 20 times: the 99.9 % point of chi square with 119 degrees of freedom.
    counts = Counter(orders)
    assert len(counts) == 120
    assert sum((count - 20) ** 2 / 20 for count in counts.values()) < 172.0
    assert texts("c1", ASPECTS, "shuffled").items() <= texts("c1", ASPECTS, "both", "shuffled", "caption").items()


def test_a_clip_without_aspects_has_only_its_caption_to_say() -> None:
    found = texts("c1", [], *SUFFIXES)
    assert len(found) == 3 + SHUFFLES
    assert set(found.values()) == {"A loud song."}

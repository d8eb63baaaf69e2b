"""Clips that a source rejected: counts by kind, the first reasons, and advice."""

from collections import Counter
from collections.abc import Iterator, Sequence

SHOWN = 20
Rejected = Sequence[dict[str, str]]  # `id` and `reason` of each


def kinds(rejected: Rejected) -> Counter[str]:
    """Number of rejected clips by kind of reason, the text before its colon."""
    return Counter(row["reason"].split(":")[0] for row in rejected)


def lines(rejected: Rejected, listed_in: str) -> Iterator[str]:
    """The counts by kind, the first rejected clips, and the file `listed_in` that lists all."""
    for kind, count in kinds(rejected).most_common():
        yield f"  rejected, {kind}: {count}"
    for row in rejected[:SHOWN]:
        yield f"  rejected {row['id']}: {row['reason']}"
    if len(rejected) > SHOWN:
        yield f"  and {len(rejected) - SHOWN} more in {listed_in}"
    if kinds(rejected).keys() & {"not fetched", "not tried"}:
        yield (
            "  what was not fetched may be there later: `dvc repro --force --single-item download` tries only that again"
        )


def advice(source: str, rejected: Rejected, url: str) -> str:
    """What to do if a `source` has too few valid clips; `url`: the address of videos."""
    match source:
        case "synthetic":
            return "Raise data.synthetic.train, validation and test, or lower data.min_available"
        case "folder":
            short = kinds(rejected)["too short"]
            loops = f"{short} are too short: data.min_seconds keeps shorter clips. " if short else ""
            return (
                f"{loops}Add tracks, set the column split, or change data.folder.validation_fraction, "
                "data.folder.test_fraction or data.min_available"
            )
        case "jamendo":
            return (
                "See whether data.jamendo.audio and data.jamendo.suffix fit the names of the files, and data.jamendo.subset the "
                "tables, or lower data.min_available"
            )
        case "hub":
            return (
                "Change data.hub.split, data.hub.validation_fraction or data.hub.test_fraction, see whether data.hub.audio and "
                "data.hub.text are the right columns, or lower data.min_available"
            )
        case _:
            return _of_videos(rejected, url)


def _of_videos(rejected: Rejected, url: str) -> str:
    found, steps = kinds(rejected), []
    if found["not tried"]:
        reason = next(row["reason"] for row in rejected if row["reason"].startswith("not tried"))
        steps.append(
            f"{reason.removeprefix('not tried: ').capitalize()}: see whether data.musiccaps.url ({url}) is right "
            "and answers from here; none of these was marked as gone, and the next run asks for them again"
        )
    elif found["not fetched"]:
        steps.append("What was not fetched may be there later: run the same command again")
    earlier = sum("found on an earlier run" in row["reason"] for row in rejected)
    if earlier:
        steps.append(
            f"{earlier} were found to be gone on an earlier run: data.musiccaps.retry_gone asks for them again"
        )
    return ". ".join([*steps, "Or name a larger table, or lower data.min_available"])

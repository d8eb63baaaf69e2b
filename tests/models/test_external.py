"""Another system's audio: which file is for which prompt, what is taken of it, and what changes its digest."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from musicgen_lite.errors import UserError
from musicgen_lite.io.files import write_text
from musicgen_lite.models import external
from musicgen_lite.models.external import Place
from tests.support.standins import RATE, sine

CAPTIONS = {"t1": "A piano.", "t2": "A drum,  fast.", "t3": "A flute."}


def fail(name: str, reason: str) -> None:
    raise AssertionError(f"{name} was rejected: {reason}")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Audio for two of three prompts, with what does not belong to any."""
    for name in ("a", "b", "c", "d", "e"):
        soundfile.write(tmp_path / f"{name}.wav", sine(440, 2.0), RATE)
    rows = ["a.wav,t1,", "b.wav,t2,A drum, fast.", "c.wav,t9,", "d.wav,t1,", "e.wav,t3,Another.", "gone.wav,t3,"]
    quoted = [row.replace("A drum, fast.", '"A drum, fast."') for row in rows]
    write_text(tmp_path / "prompts.csv", "\n".join(["file_name,id,caption", *quoted, ""]))
    return Place.of(str(tmp_path), "", Path("/"))


def test_what_pairs_is_kept_and_all_else_is_named(place: Place) -> None:
    reasons: dict[str, str] = {}
    pieces = external.paired(place.pieces(reasons.__setitem__), CAPTIONS, reasons.__setitem__)
    assert {prompt: piece.name for prompt, piece in pieces.items()} == {"t1": "a.wav", "t2": "b.wav"}
    assert reasons == {
        "prompts.csv row 4 (c.wav)": "id: 't9' is none of the 3 test prompts",
        "prompts.csv row 5 (d.wav)": "duplicate: the same prompt as prompts.csv row 2",
        "prompts.csv row 6 (e.wav)": "caption: another than that of the test clip t3",
        "prompts.csv row 7 (gone.wav)": "file: no such file",
        "t3": "prompt: no audio for it",
    }


def test_without_ids_captions_are_its_own(place: Place) -> None:
    write_text(place.table, "file,prompt\nb.wav,A drum.\na.wav,A piano.\n")
    pieces = external.paired(place.pieces(fail), CAPTIONS, fail)
    assert [(key, one.name, one.caption) for key, one in pieces.items()] == [
        ("own-0000", "b.wav", "A drum."), ("own-0001", "a.wav", "A piano.")
    ]  # fmt: skip


def test_ids_of_no_test_prompt_are_an_error(place: Place) -> None:
    write_text(place.table, "file_name,id\na.wav,x1\nb.wav,x2\n")
    with pytest.raises(
        UserError, match="none of 2 rows belongs to a test prompt; the column id holds theirs, such as 't1'"
    ):
        external.paired(place.pieces(fail), CAPTIONS, lambda name, reason: None)


def test_a_table_needs_its_columns_and_the_folder_must_be_there(place: Place) -> None:
    with pytest.raises(UserError, match=r"model\.external\.audio: .*gone: no such folder"):
        Place.of("gone", "", place.folder).pieces(fail)
    with pytest.raises(UserError, match=r"other\.csv: no such file; name one that is there"):
        Place.of(".", "other.csv", place.folder).pieces(fail)
    write_text(place.table, "name,text\na.wav,x\n")
    with pytest.raises(
        UserError, match=r"a column file_name or file is needed, and id, caption, prompt .*; found name, text"
    ):
        place.pieces(fail)


def test_the_digest_changes_with_the_table_and_with_the_files_that_it_names(place: Place) -> None:
    before = place.digest()
    assert place.digest() == before
    soundfile.write(place.folder / "other.wav", sine(220), RATE)
    assert place.digest() == before
    soundfile.write(place.folder / "a.wav", sine(220, 3.0), RATE)
    changed = place.digest()
    assert changed != before
    soundfile.write(place.folder / "gone.wav", sine(220), RATE)
    assert place.digest() not in (before, changed)


def test_a_table_without_files_is_named_before_anything_runs(place: Place) -> None:
    write_text(place.table, "file_name,caption\na.wav,x\nnone.wav,x\n")
    with pytest.raises(
        UserError, match=r"prompts\.csv: 1 rows have a file in .*, 2 are needed; prompts\.csv row 3.*no such file"
    ):
        place.digest()


def test_audio_is_brought_to_the_rate_and_the_length(tmp_path: Path) -> None:
    stereo = np.stack([sine(440, 3.0, 44100), sine(440, 3.0, 44100)], axis=1)
    soundfile.write(tmp_path / "long.wav", stereo, 44100, subtype="FLOAT")
    taken = external.take(tmp_path / "long.wav", 2.0, RATE)
    assert not isinstance(taken, str)
    assert (taken.samples.shape, taken.longer, taken.silent) == ((2 * RATE,), True, False)
    # The end as well: what follows was read, so that the resampler does not fade out.
    assert np.abs(taken.samples - sine(440, 2.0)).max() < 0.01


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (sine(440, 1.0), "too short: 1.00 s, at least 2 s are needed"),
        (np.full(2 * RATE, np.inf, np.float32), "holds NaN or infinite samples"),
    ],
)
def test_what_cannot_be_taken_says_why(tmp_path: Path, samples: np.ndarray, said: str) -> None:
    soundfile.write(tmp_path / "x.wav", samples, RATE, subtype="FLOAT")
    assert external.take(tmp_path / "x.wav", 2.0, RATE) == said


def test_silence_is_taken_and_said(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(2 * RATE), RATE)
    taken = external.take(tmp_path / "x.wav", 2.0, RATE)
    assert not isinstance(taken, str)
    assert taken.silent
    assert not taken.longer

"""`musicgen-lite score`: the pipeline's numbers for the same audio, each clip embedded once, all bad input named."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from musicgen_lite.cli import app
from musicgen_lite.cli.shared import folder_scores
from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.io.files import write_text
from musicgen_lite.scoring.audio.distances import noise_like
from musicgen_lite.scoring.audio.embedders import ClapEmbedder, Embedders
from musicgen_lite.scoring.audio.embeddings import embed
from musicgen_lite.scoring.audio.scores import score_generated
from musicgen_lite.scoring.audio.sets import (
    ClipSet,
    GeneratedSet,
    ReferenceClips,
    as_noise,
    embed_reference,
    reconstructed,
)
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from tests.support.standins import RATE, RoundingCodec, ToneClap, clicks, sine

EMBEDDERS = Embedders(ToneClap(), RoundingCodec(), ToneClap(0.7))
HZ = {f"t{i:02d}": 200.0 * 2 ** (i / 6) for i in range(16)}
REFERENCE, OTHER = sorted(HZ)[::2], sorted(HZ)[1::2]


def wave(clip: str, generated: bool) -> np.ndarray:
    """What a clip sounds like, as 16 bits hold it."""
    tone = sine(HZ[clip], 2.0) + 0.3 * clicks(120, 2.0, seed=int(clip[1:]))
    made = tone + noise_like(tone, int(clip[1:])) * np.float32(0.1) if generated else tone
    return audio.decode(audio.encode_flac(0.7 * made, RATE))[0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `made` with captions.csv, and `real` to measure it by; models without weights embed them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folder_scores.Models, "load", lambda self, protocols: replace(EMBEDDERS, protocols=protocols))
    for name, clips in (("made", OTHER), ("real", REFERENCE)):
        Path(name).mkdir()
        for clip in clips:
            soundfile.write(f"{name}/{clip}.flac", wave(clip, name == "made"), RATE, subtype="PCM_16")
    rows = [f"{clip}.flac,{HZ[clip]}" for clip in OTHER]
    write_text("made/captions.csv", "\n".join(["file_name,caption", *rows, ""]))
    return tmp_path


def score(*options: str) -> Result:
    return CliRunner().invoke(app, ["score", "made", "--reference", "real", "--bootstrap", "100", *options])


def written(name: str = "scores.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(name).read_text())
    return found


def of_the_pipeline() -> dict[str, Any]:
    """The estimates of the stages, of samples that are the folder's audio."""
    real = ClipSet(OTHER, lambda clip: (wave(clip, False), RATE))
    reference = ClipSet(REFERENCE, lambda clip: (wave(clip, False), RATE))
    captions, tracks = {clip: str(HZ[clip]) for clip in OTHER}, {clip: clip for clip in HZ}
    clips = ReferenceClips(
        captions,
        tracks,
        reference,
        real,
        reconstructed(real, EMBEDDERS.codec),
        as_noise(real, 0),
        real,
        None,
        reference,
    )
    samples = GeneratedSet(captions, tracks, dict.fromkeys(OTHER, 0), 1, lambda clip, k: (wave(clip, True), RATE))
    scores = score_generated(samples, embed_reference(clips, EMBEDDERS), EMBEDDERS, Bootstrap(100))
    return {name: scores.details["estimates"][name] for name in scores.details["columns"].values()}


def test_the_numbers_are_those_of_the_pipeline_with_their_intervals(folder: Path) -> None:
    done = score("--captions", "made/captions.csv", "--judge", "judge")
    assert done.exit_code == 0, done.output
    own, pipeline = written()["estimates"], of_the_pipeline()
    # What needs candidates or training clips is the pipeline's alone.
    assert set(pipeline) - set(own) == {"clap_first", "memorised"}
    shared = set(pipeline) & set(own)
    assert {"clap", "judge", "clap_fad_generated", "codec_kad_generated", "mel_fad_generated", "pulse"} <= shared
    assert {name: own[name] for name in shared} == {name: pipeline[name] for name in shared}
    assert written()["metrics"]["clap"] == own["clap"]["value"]
    (line,) = [line for line in done.output.splitlines() if line.startswith("CLAP score ")]
    low, high = (f"{own['clap'][end]:.4g}" for end in ("low", "high"))
    assert line.split()[2:] == [f"{own['clap']['value']:.4g}", low, "to", high, str(len(OTHER))]


def test_one_length_is_that_of_the_pipeline_too(folder: Path) -> None:
    assert score("--seconds", "2").exit_code == 0
    pipeline = of_the_pipeline()
    assert written()["estimates"]["clap_fad_generated"] == pipeline["clap_fad_generated"]
    assert score("--seconds", "1", "-o", "one.json").exit_code == 0
    assert written("one.json")["estimates"]["clap_fad_generated"] != pipeline["clap_fad_generated"]


def test_without_captions_nothing_is_said_of_them(folder: Path) -> None:
    assert score().exit_code == 0
    assert not {"clap", "tempo", "key"} & set(written()["estimates"])
    assert written()["estimates"]["pulse"]["n"] == len(OTHER)


def test_a_killed_run_goes_on_and_a_second_one_computes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, calls = ClapEmbedder.embed, list[int]()

    def dying(self: ClapEmbedder, samples: np.ndarray, rate: int) -> np.ndarray:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return plain(self, samples, rate)

    monkeypatch.setattr(ClapEmbedder, "embed", dying)
    assert score("--space", "clap").exit_code != 0
    assert not Path("scores.json").exists()
    done = score("--space", "clap")
    assert "4 embeddings were known, 12 were computed" in done.output
    first = Path("scores.json").read_bytes()
    assert "16 embeddings were known, 0 were computed" in score("--space", "clap").output
    assert Path("scores.json").read_bytes() == first


def test_what_cannot_be_scored_is_named_and_silence_counts(folder: Path) -> None:
    soundfile.write("made/short.wav", sine(440, 0.3), RATE)
    soundfile.write("made/silent.wav", np.zeros(2 * RATE), RATE)
    soundfile.write("made/nan.wav", np.full(2 * RATE, np.nan, np.float32), RATE, subtype="FLOAT")
    soundfile.write("real/silent.wav", np.zeros(2 * RATE), RATE)
    write_text("made/broken.mp3", "no music")
    write_text("made/other.m4a", "no music")
    with Path("made/captions.csv").open("a") as file:
        file.write("gone.flac,440\nt01.flac,twice\n")
    done = score("--captions", "made/captions.csv")
    assert done.exit_code == 0, done.output
    reasons = {one["id"]: one["reason"] for one in written()["rejected"]}
    assert reasons["short.wav"] == "too short: 0.30 s, at least 1 s are needed"
    assert reasons["nan.wav"] == "holds NaN or infinite samples"
    assert reasons["broken.mp3"].startswith("not audio: (")
    assert reasons["other.m4a"] == "not audio: convert it to wav or flac, as with ffmpeg"
    assert reasons["reference/silent.wav"] == "silent"
    assert reasons["captions.csv row 10 (gone.flac)"].startswith("file: no such file")
    assert reasons["captions.csv row 11 (t01.flac)"] == "duplicate: the same file as captions.csv row 2"
    assert (written()["clips"], written()["silent"]) == (len(OTHER) + 1, ["silent.wav"])
    assert written()["estimates"]["silent"]["value"] == pytest.approx(1 / 9, abs=1e-6)
    assert written()["estimates"]["clap"]["n"] == len(OTHER)
    for line in ("rejected, too short: 1", "silent, but scored: 1", "without a caption, not scored by CLAP: 1"):
        assert line in done.output


def test_lengths_and_rates_that_differ_are_said_and_can_be_brought_to_one(folder: Path) -> None:
    soundfile.write("made/longer.wav", sine(440, 3.0, rate=32000), 32000)
    differing = score("--space", "mel")
    assert "lengths differ: 2 to 3 s here, 2 s in the reference" in differing.output
    assert "rates differ: 16000 to 32000 Hz here, 16000 Hz in the reference" in differing.output
    alike = score("--space", "mel", "--seconds", "2", "--rate", "16000")
    assert "differ" not in alike.output
    assert alike.exit_code == 0


def test_another_tools_protocol_is_a_space_of_its_own(folder: Path) -> None:
    assert score("--space", "clap", "--space", "clap_fadtk").exit_code == 0
    own = written()
    assert set(own["metrics"]) >= {"fad", "fad_fadtk"}
    assert own["estimates"]["clap_fad_generated"] == of_the_pipeline()["clap_fad_generated"]
    assert own["notes"]["clap_fadtk"]["fingerprint"] != own["notes"]["clap"]["fingerprint"]


def test_vggish_without_its_weights_is_named_before_any_model_is_loaded() -> None:
    models = folder_scores.Models("no clap", "", "", "no codec", 1, "", "cpu", 1, ())
    with pytest.raises(UserError, match=r"--vggish: there is no file ''; the release v0.1 of github.com/harritaylor"):
        models.load(("ours", "audiocraft"))


def test_attms_protocol_has_a_clap_score_of_its_own(folder: Path) -> None:
    done = score("--space", "clap_attm", "--captions", "made/captions.csv")
    assert done.exit_code == 0, done.output
    own = written()
    assert {"clap", "clap_attm", "fad_attm"} <= set(own["metrics"])
    assert own["metrics"]["clap_attm"] == pytest.approx(own["metrics"]["clap"], abs=0.02)
    assert own["notes"]["clap_attm"]["fingerprint"] != own["notes"].get("clap", {}).get("fingerprint")
    assert "CLAP score, ATTM's protocol" in done.output


def statistics(**arrays: Any) -> None:
    np.savez("stats.npz", **arrays)


def test_statistics_of_the_reference_give_the_distance_of_its_clips(folder: Path) -> None:
    files = ClipSet(REFERENCE, lambda clip: (wave(clip, False), RATE))
    rows = embed(files, [EMBEDDERS.clap_space], "reference")["clap"].rows.astype(np.float64)
    found = {"tone.mu": rows.mean(axis=0), "tone.cov": np.cov(rows, rowvar=False)}
    statistics(**found, **{"other.mu": np.zeros(9), "other.cov": np.eye(9)})
    done = score("--reference", "stats.npz", "--stats-model", "tone")
    assert done.exit_code == 0, done.output
    own = written()["estimates"]["clap_fad_generated"]
    assert own["value"] == pytest.approx(of_the_pipeline()["clap_fad_generated"]["value"], rel=1e-4)
    assert own["low"] < own["value"] < own["high"]
    assert "clap_kad_generated" not in written()["estimates"]
    assert written()["notes"]["clap_kad_generated"].startswith("withheld")
    assert written()["notes"]["clap"]["reference"]["model"] == "tone"


MEAN, COVARIANCE = np.zeros(3), np.eye(3)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": MEAN}, "holds no mean and covariance; arrays mu and cov are needed"),
        ({"mu": np.zeros(512), "cov": np.eye(512)}, "statistics of 512 dimensions, but the space clap has 3; name the"),
        ({"a.mu": MEAN, "a.cov": COVARIANCE, "b.mu": MEAN, "b.cov": COVARIANCE}, "holds statistics by a, b; choose"),
        ({"mu": MEAN, "cov": np.eye(4)}, "mu has shape (3,) and cov (4, 4)"),
        ({"mu": MEAN[:0], "cov": COVARIANCE[:0, :0]}, "mu has shape (0,) and cov (0, 0)"),
        (
            {"mu": np.array(["a", "b", "c"]), "cov": COVARIANCE},
            "mu and cov hold <U1 and float64; real numbers are needed",
        ),
        ({"mu": MEAN * np.nan, "cov": COVARIANCE}, "holds NaN"),
        ({"mu": MEAN, "cov": -COVARIANCE}, "cov is not a covariance"),
    ],
)
def test_statistics_that_do_not_fit_are_named(folder: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    statistics(**arrays)
    done = score("--reference", "stats.npz")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: stats.npz: ")
    assert said in done.stderr


@pytest.mark.parametrize("cut", [None, 300])
def test_a_file_that_is_no_archive_or_a_damaged_one_is_named(folder: Path, cut: int | None) -> None:
    if cut is None:
        np.save("array.npy", MEAN)
        Path("array.npy").rename("stats.npz")
    else:
        np.savez_compressed("stats.npz", mu=np.arange(512.0), cov=np.eye(512))
        content = bytearray(Path("stats.npz").read_bytes())
        content[cut : cut + 40] = bytes(40)
        Path("stats.npz").write_bytes(content)
    done = score("--reference", "stats.npz")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: stats.npz: not a .npz of statistics that can be read (")
    assert "pickle" not in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--reference", "gone"), "gone: no such folder"),
        (("--reference", "gone.npz"), "gone.npz: no such file"),
        (("--reference", "empty"), "empty: holds no audio; .wav"),
        (("--reference", "text.npz"), "text.npz: not a .npz of statistics that can be read"),
        (("--captions", "gone.csv"), "gone.csv: no such file"),
        (
            ("--captions", "none.csv"),
            "none.csv: 0 caption(s) belong to a clip of made, 2 are needed; the column file_name",
        ),
        (("--captions", "other.csv"), "other.csv: a column file_name or file is needed"),
        (
            ("--captions", "ids.csv"),
            "ids.csv: 0 caption(s) belong to a clip of made, 2 are needed; the column file_name",
        ),
        (("--captions", "ids.csv"), "as they are in the folder, caption or prompt holds their captions\n"),
        (("--captions", "none.csv"), "holds their captions: none.csv row 2 (elsewhere.wav): file: no such file\n"),
        (
            ("--captions", "real"),
            "real: a folder; --captions is a .csv or .jsonl with the columns file_name (or file) and",
        ),
        (
            ("--stats-model", "tone"),
            "stats-model: found 'tone'; it chooses within a .npz file, but --reference is real",
        ),
        (
            ("--seconds", "9"),
            "made: 0 clip(s) of 8 files can be used, 2 are needed: t01.flac: too short: 2.00 s, at least 9",
        ),
        (("--seconds", "0"), "seconds: found 0; 0.1 to 3600"),
        (("--rate", "5"), "rate: found 5; 8000 to 192000"),
        (
            ("--space", "vggish"),
            "space: found 'vggish'; clap, codec, mel, clap_fadtk, clap_kadtk, clap_attm, vggish_audiocraft are allowed",
        ),
        (("--reference", "text.npz", "--space", "clap", "--space", "mel"), "the statistics of one space"),
        (
            ("--reference", "text.npz", "--space", "clap_kadtk"),
            "of which clap_kadtk measures nothing; it needs a folder",
        ),
        (("--out", "scores.csv"), "scores.csv: the scores are written as .json"),
        (("--bootstrap", "1"), "bootstrap: found 1; 100 or more"),
        (("--cache", "text.npz"), "text.npz: no cache of embeddings can be kept here"),
    ],
)
def test_bad_input_is_one_message_and_nothing_is_written(folder: Path, options: tuple[str, ...], said: str) -> None:
    Path("empty").mkdir()
    write_text("text.npz", "neither numbers nor a database, but long enough to look like one" * 9)
    write_text("none.csv", "file,prompt\nelsewhere.wav,440\n")
    write_text("other.csv", "name,text\na,b\n")
    write_text("ids.csv", "file,id\nt01.flac,a\nt03.flac,b\n")
    done = score(*options)
    assert done.exit_code == 2, done.output
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert said in done.stderr
    assert not Path("scores.json").exists()


def test_too_few_clips_are_told_with_the_reasons_of_their_own_folder(folder: Path) -> None:
    for name in ("one", "quiet"):
        Path(name).mkdir()
    soundfile.write("one/a.wav", sine(440, 2.0), RATE)
    soundfile.write("quiet/b.wav", np.zeros(2 * RATE), RATE)
    soundfile.write("made/short.wav", sine(440, 0.3), RATE)
    for name, found in (("one", "1 clip(s) of 1 files"), ("quiet", "0 clip(s) of 1 files")):
        said = f"error: {name}: {found} can be used, 2 are needed"
        end = "" if name == "one" else ": reference/b.wav: silent"
        assert score("--reference", name).stderr.splitlines()[-1] == said + end


def test_files_that_are_in_both_folders_are_said(folder: Path) -> None:
    assert "in both folders" not in score("--space", "mel").output
    Path("real").rename("made/real")
    done = score("--reference", "made/real", "--space", "mel")
    assert done.exit_code == 0, done.output
    assert f"in both folders: {len(REFERENCE)} files, such as {folder / 'made/real/t00.flac'}; " in done.output


@pytest.mark.parametrize(
    ("codebooks", "aesthetics", "said"),
    [(9, "", "--codebooks: found 9"), (4, "any", "--aesthetics needs the package audiobox-aesthetics")],
)
def test_what_no_model_has_is_named_by_the_option(
    monkeypatch: pytest.MonkeyPatch, codebooks: int, aesthetics: str, said: str
) -> None:
    monkeypatch.setitem(sys.modules, "audiobox_aesthetics.infer", None)
    models = folder_scores.Models("embedded", "", "", "embedded", codebooks, aesthetics, "cpu", 1, ())
    with pytest.raises(UserError, match=f"^{said}"):
        models.load(("ours",))


def test_a_plain_installation_can_score() -> None:
    """What the pipeline and its pages need besides is in extras."""
    extras = ("dvc", "jinja2", "lightning", "markupsafe", "matplotlib", "mlflow")
    block = f"import sys; sys.modules.update(dict.fromkeys({extras!r}))"
    done = subprocess.run(
        [sys.executable, "-c", f"{block}; import musicgen_lite.cli.shared.folder_scores"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

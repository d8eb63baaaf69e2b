"""Each outside source through the real dvc.yaml, as a tiny twin: from what lies on the disk to tokens."""

import json
from pathlib import Path

import pytest
import soundfile
from safetensors.torch import save_file

from musicgen_lite.io.arrays import ArrayStore
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.samples import SampleStore
from musicgen_lite.scoring.audio.vggish import Vggish
from musicgen_lite.scoring.metrics import BY_KEY
from tests.support import hub_datasets, jamendo_tables
from tests.support.project import Project, create, stages_run

pytestmark = [pytest.mark.pipeline, pytest.mark.long, pytest.mark.timeout(1800)]
TO_TOKENS = ("dvc", "repro", "tokenize")


def tokenized(project: Project) -> list[str]:
    """Clips of the project that have tokens, all of them."""
    clips = ClipStore(project.folder / "data/clips").index["id"].tolist()
    assert set(ArrayStore(project.folder / "data/tokens/target").keys) == set(clips)
    return clips


def test_jamendo_by_the_preset_attm_becomes_a_submission_scored_by_every_protocol(tmp_path: Path) -> None:
    project = create(tmp_path / "project")
    save_file(Vggish().state_dict(), tmp_path / "vggish.safetensors")
    jamendo_tables.whole(tmp_path, "_instrumental.mp3")
    (tmp_path / "captions.json").write_text('[{"path": "01/1.mp3", "caption": "A given text."}]')
    prompts = {"p1": "A calm piano.", "p2": "Fast drums.", "p3": "A loud guitar."}
    lines = "".join(f"{name},{prompt}\n" for name, prompt in prompts.items())
    (project.folder / "prompts.csv").write_text(f"id,prompt\n{lines}")
    project.set(
        data__source="jamendo", data__rate=8000, data__jamendo__tables=str(tmp_path / "tables"),
        data__jamendo__audio=str(tmp_path / "audio"), data__jamendo__suffix="_instrumental.mp3",
        data__jamendo__captions=str(tmp_path / "captions.json"), sample__candidates=1, sample__prompts_file="prompts.csv",
        score__protocols=["ours", "fadtk", "kadtk", "attm", "audiocraft"], score__vggish=str(tmp_path / "vggish.safetensors"),
    )  # fmt: skip
    output = project.run("dvc", "repro").stdout
    assert stages_run(output)[-1] == "track"
    assert len(tokenized(project)) == 24
    assert "A given text." in ClipStore(project.folder / "data/clips").index["caption"].tolist()
    samples = SampleStore(project.folder / "data/samples")
    assert {one.prompt_id: one.caption for one in samples.picked("text")} == prompts
    scores = json.loads((project.folder / "data/scores/audio/details.json").read_text())
    assert scores["estimates"]["clap"]["n"] == scores["estimates"]["clap_fad_generated"]["n"] == 3
    assert "prompts of its own" in json.dumps(scores["notes"]["clap"]["sets"])
    by_others = {"fad_fadtk", "kad_kadtk", "fad_attm", "clap_attm", "fad_audiocraft"}
    assert by_others <= set(scores["columns"])
    assert {scores["estimates"][scores["columns"][name]]["n"] for name in by_others} == {3}
    reference = json.loads((project.folder / "data/scores/reference/details.json").read_text())
    assert {f"{name}_{one}" for name in by_others for one in ("real", "recon", "noise")} <= set(reference["columns"])
    assert scores["notes"]["vggish_origin"] == reference["notes"]["vggish_origin"]
    page = (project.folder / "data/report/index.html").read_text()
    assert all(BY_KEY[name].label.replace("'", "&#39;") in page for name in by_others)

    project.run("musicgen-lite", "export-samples", "submission")
    found = {path.stem: soundfile.info(path) for path in (project.folder / "submission").glob("*.wav")}
    assert found.keys() == prompts.keys()
    assert {(one.samplerate, one.frames) for one in found.values()} == {(44100, round(1.01 * 44100))}


def test_a_data_set_of_tars_becomes_tokens(tmp_path: Path) -> None:
    project = create(tmp_path / "project")
    hub_datasets.webdataset(tmp_path / "set")
    project.set(
        data__source="hub", data__rate=8000, data__hub__name=str(tmp_path / "set"), data__hub__audio="wav",
        data__hub__text="json.caption", data__hub__validation_fraction=0.2, data__hub__test_fraction=0.3,
    )  # fmt: skip
    assert project.stages_of(*TO_TOKENS) == ["check", "download", "tokenize"]
    assert len(tokenized(project)) == hub_datasets.COUNT

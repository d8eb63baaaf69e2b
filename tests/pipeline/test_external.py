"""Another system's audio and a pipeline of diffusers as runs of the real pipeline: scored as a model's, without a training or a likelihood."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from musicgen_lite.cli import app
from musicgen_lite.io import audio
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.files import write_text
from musicgen_lite.io.samples import SampleStore
from musicgen_lite.io.windows import ClipWindows, Windows
from musicgen_lite.sources.splits import halves
from tests.support import diffusers_tiny
from tests.support.mlflow_runs import Run, Runs
from tests.support.project import TINY, Project, stages_run

pytestmark = pytest.mark.pipeline
SYSTEM, STABLE = "cache/riffusion", "cache/stable"  # in the repository, outside of git


def given(project: Project) -> list[str]:
    """The samples of the trained model as the audio of another system, by the ids of its prompts."""
    samples, folder = SampleStore(project.folder / "data/samples"), project.folder / SYSTEM
    folder.mkdir(parents=True)
    prompts = [one.prompt_id for one in samples.picked("text")]
    for one in samples.picked("text"):
        (folder / f"{one.prompt_id}.flac").write_bytes(samples.flac(one))
    write_text(folder / "prompts.csv", "\n".join(["file_name,id", *(f"{one}.flac,{one}" for one in prompts), ""]))
    return prompts


def reference(project: Project, folder: Path) -> None:
    """The reference half of the test clips as files."""
    clips = ClipStore(project.folder / "data/clips")
    seconds = (TINY["data.prompt_seconds"], TINY["data.seconds"], TINY["sample.seconds"])
    windows = ClipWindows(clips, Windows(16000, *seconds))
    folder.mkdir()
    for clip in halves(clips, TINY["sample.prompts"])[0]["id"]:
        (folder / f"{clip}.flac").write_bytes(audio.encode_flac(*windows.target(clip)))


def diffused(project: Project, model: str, before: dict[str, Run]) -> None:
    """A pipeline of diffusers as a run beside a model's and another system's."""
    diffusers_tiny.save(project.folder / STABLE, "stable-audio")
    changes = ["model.type=diffusers", f"model.diffusers.name={STABLE}", "model.diffusers.steps=2"]
    output = project.run(
        "dvc", "exp", "run", "-n", "diffused", *(word for one in changes for word in ("-S", one))
    ).stdout
    assert stages_run(output) == ["check", "train", "sample", "score_nll", "score_audio", "report", "track"]
    assert f"nothing to train: {STABLE}, digest" in output
    assert "Likelihood: Not applicable: a pipeline of diffusers has no likelihood of codes." in output
    found = project.metrics()
    assert found["nll"] == {}
    assert {"clap", "fad", "judge_gain"} <= found["audio"].keys()
    samples = SampleStore(project.folder / "data/samples")
    assert len(samples) == (TINY["sample.prompts"] + 3) * TINY["sample.candidates"]
    (run,) = (one for one in Runs(project).new(before) if one.name == "diffused")
    assert (run.status, run.params["model.steps"]) == ("FINISHED", "2")
    assert run.tags["published"].startswith(f"{STABLE}, digest ")
    assert not {"train.steps", "sample.guidance", "model.pattern"} & set(run.params)
    assert "model/model.safetensors" not in Runs(project).artifacts(run)
    page = (project.folder / "data/report/index.html").read_text()
    assert f"{STABLE}, diffusers" in page
    assert "its own, best of 2, denoising steps 2" in page
    compared = " ".join(project.run("musicgen-lite", "compare", model, "other", "diffused").stdout.split())
    assert f"{STABLE}, diffusers" in compared
    for name, reason in (("other", "the audio of another system"), ("diffused", "a pipeline of diffusers")):
        assert f"not applicable to {name}: {reason} has no likelihood" in compared


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_another_systems_audio_stands_beside_a_model(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert project.stages_of("dvc", "repro") == ["check", "track"]
    (model,) = Runs(project).all().values()
    trained, prompts = project.metrics(), given(project)
    written = (project.folder / "data/reference/prompts.csv").read_text().splitlines()
    assert written[0] == "id,prompt,seconds"
    assert sorted(line.split(",")[0] for line in written[1:]) == sorted(prompts)

    changes = ["model.type=external", "model.external.name=riffusion", f"model.external.audio={SYSTEM}"]
    output = project.run("dvc", "exp", "run", "-n", "other", *(word for one in changes for word in ("-S", one))).stdout
    assert stages_run(output) == ["check", "train", "sample", "score_nll", "score_audio", "report", "track"]
    assert "nothing to train: the audio of riffusion, digest" in output
    assert f"riffusion: audio for {len(prompts)} of {len(prompts)} test prompts; 0 longer" in output
    assert "Likelihood: Not applicable: the audio of another system has no likelihood." in output
    assert project.metrics()["nll"] == {}
    # The same audio has the same scores, but for what needs candidates.
    same = {name: value for name, value in trained["audio"].items() if name != "judge_gain"}
    assert project.metrics()["audio"] == same

    (run,) = Runs(project).new({model.run_id: model})
    assert (run.name, run.status) == ("other", "FINISHED")
    assert run.params["model.name"] == "riffusion"
    assert not {"train.steps", "sample.candidates", "model.pattern"} & set(run.params)
    assert run.tags["external"].startswith("riffusion, digest ")
    assert not {"nll", "parameters"} & set(run.metrics)
    assert "model/model.safetensors" not in Runs(project).artifacts(run)
    page = (project.folder / "data/report/index.html").read_text()
    assert "Not applicable: the audio of another system has no likelihood." in page

    compared = " ".join(project.run("musicgen-lite", "compare", model.name, "other").stdout.split())
    assert "withheld for other: nll, ppl, bps, caption_gain," in compared
    assert "not applicable to other: the audio of another system has no likelihood" in compared
    assert "riffusion, external" in compared

    reference(project, tmp_path / "reference")
    monkeypatch.chdir(tmp_path)
    options = ["--reference", "reference", "--bootstrap", str(TINY["score.bootstrap"])]
    done = CliRunner().invoke(app, ["score", str(project.folder / SYSTEM), *options, "--threads", "1"])
    assert done.exit_code == 0, done.output
    alone = json.loads(Path("scores.json").read_text())["estimates"]
    piped = json.loads((project.folder / "data/scores/audio/details.json").read_text())["estimates"]
    for name in ("clap_fad_generated", "codec_fad_generated", "mel_kad_generated", "pulse"):
        assert alone[name] == piped[name], name

    # A file that changes makes what was taken of it stale.
    (project.folder / SYSTEM / f"{prompts[0]}.flac").unlink()
    assert project.stages_of("dvc", "repro", "-s", "check", "train") == ["check", "train"]
    assert "data/model" in project.run("dvc", "status", "sample").stdout
    assert "file: no such file" in project.run("python", "-m", "stages.sample").stdout
    project.reset()

    diffused(project, model.name, {one.run_id: one for one in (model, run)})
    project.reset()

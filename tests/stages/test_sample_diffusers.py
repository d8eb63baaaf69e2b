"""The stages check, train and sample with a pipeline of diffusers: what is noted, what each item's audio depends on, what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.io.clips import Clip, ClipWriter
from musicgen_lite.io.samples import SampleStore
from musicgen_lite.models.diffusers import TextToAudio
from musicgen_lite.params import Params, parse
from stages import check, sample, train
from stages.runtime import EXTERNAL, MODEL, SAMPLES
from tests.support import diffusers_tiny
from tests.support.stage_params import parameters

PROMPTS = "id,prompt\nx1,A calm piano.\nx2,Fast drums.\n"
SECONDS, RATE = 1.0, 16000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusers_tiny.save(tmp_path_factory.mktemp("pipelines") / "stable", "stable-audio")


@pytest.fixture
def repository(place: Path, made: Path) -> Path:
    """The main repository with a pipeline of its own, beside a copy with four test clips."""
    repository = place / "repository"
    (repository / "cache").mkdir(parents=True)
    (repository / "cache" / "stable").symlink_to(made)
    Path("data/clips").mkdir(parents=True)
    writer = ClipWriter("data/clips")
    for key in "abcd":
        writer.add(Clip(key, key, "test", f"A beat, {key}.", (), np.zeros(RATE, np.float32), RATE))
    writer.close()
    return repository


def chosen(name: str = "cache/stable", **changes: Any) -> Params:
    """Small parameters of that pipeline; `changes` of the section sample."""
    tree = parameters().model_dump(mode="json")
    tree["compute"] |= {"device": "cpu", "threads": 1}
    tree["model"] |= {"type": "diffusers", "diffusers": {"name": name, "steps": 2, "guidance": None}}
    tree["sample"] |= {"prompts": 2, "candidates": 2, "fixed_prompts": ["Loud."], **changes}
    return parse(tree)


def sampled(params: Params) -> SampleStore:
    """What the stages give."""
    check.main(params)
    MODEL.parent.mkdir(exist_ok=True)
    train.system(params, MODEL.parent)
    sample.main(params)
    return SampleStore(SAMPLES)


def sounds(store: SampleStore) -> dict[tuple[str, str, int], bytes]:
    return {(one.kind, one.prompt_id, one.candidate): store.flac(one) for one in store.samples}


@pytest.mark.slow
def test_test_captions_have_candidates_of_their_length_ranked_by_clap(repository: Path) -> None:
    store = sampled(chosen())
    kinds = [(one.kind, one.candidate) for one in store.samples]
    assert kinds == [("text", 0), ("text", 1), ("text", 0), ("text", 1), ("fixed", 0), ("fixed", 1)]
    assert len({one.prompt_id for one in store.picked("text")} & set("abcd")) == 2
    for one in store.samples:
        wave, rate = store.wave(one.kind, one.prompt_id, one.candidate)
        assert (wave.shape, rate) == ((round(SECONDS * RATE),), RATE)
        assert audio.rms_db(wave) > -60
        best = max(store.candidates(one.kind, one.prompt_id), key=lambda other: other.score)
        assert one.picked == (one.candidate == best.candidate)
        assert one.bpm is None
    assert len(set(sounds(store).values())) == len(store)
    noted = json.loads((EXTERNAL / "model.json").read_text())
    assert noted["name"] == "cache/stable"
    assert json.loads((MODEL.parent / "system.json").read_text()) == {**noted, "steps": 2, "guidance": None}


@pytest.mark.slow
def test_an_items_audio_does_not_depend_on_its_company(repository: Path) -> None:
    (repository / "p.csv").write_text(PROMPTS)
    (repository / "q.csv").write_text(PROMPTS.replace("x1,", "x0,Strings.\nx9,A calm piano.\nx8,"))
    few, many = (sounds(sampled(chosen(prompts_file=name))) for name in ("p.csv", "q.csv"))
    shared = {key for key in few if key[1] in ("x2", "fixed-0")}
    assert len(shared) == 4
    assert {key: few[key] for key in shared} == {key: many[key] for key in shared}
    # Another id is another seed.
    assert few["text", "x1", 0] != many["text", "x9", 0]
    again = sounds(sampled(chosen(prompts_file="p.csv", candidates=1)))
    assert again == {key: few[key] for key in again}
    assert len(again) == 3


@pytest.mark.slow
def test_candidates_that_a_stopped_run_made_are_not_made_again(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sounds(sampled(chosen()))
    shutil.rmtree(SAMPLES)
    made: list[str] = []
    call = TextToAudio.__call__

    def counted(self: TextToAudio, caption: str, *options: Any) -> np.ndarray:
        made.append(caption)
        if len(made) == 4:
            raise KeyboardInterrupt
        return call(self, caption, *options)

    monkeypatch.setattr(TextToAudio, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        sampled(chosen())
    assert not SAMPLES.exists()
    assert sounds(sampled(chosen())) == expected
    assert len(made) == len(expected) + 1  # the one that was stopped
    assert not list((repository / "checkpoints").glob("*"))


def test_check_sees_a_change_in_the_directory_and_sample_one_after_that(repository: Path, made: Path) -> None:
    check.main(chosen())
    first = (EXTERNAL / "model.json").read_text()
    copy = repository / "cache" / "copy"
    copy.mkdir()
    (copy / "model_index.json").write_bytes((made / "model_index.json").read_bytes())
    check.main(chosen("cache/copy"))
    second = (EXTERNAL / "model.json").read_text()
    MODEL.parent.mkdir()
    facts = train.system(chosen("cache/copy"), MODEL.parent)
    assert facts == {"published": f"cache/copy, digest {json.loads(second)['state']}"}
    (copy / "more.json").write_text("{}")
    with pytest.raises(UserError, match="cache/copy: it has changed since `check` read it; run the same command again"):
        sample.main(chosen("cache/copy"))
    check.main(chosen("cache/copy"))
    assert len({first, second, (EXTERNAL / "model.json").read_text()}) == 3


def test_prompts_that_only_the_pipeline_can_read_are_not_refused(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "p.txt").write_text("音楽 の 曲\nموسيقى هادئة\n", encoding="utf-8")
    check.main(chosen(prompts_file="p.txt", fixed_prompts=["音楽 の 曲"]))
    assert "characters" not in capsys.readouterr().out


def test_what_cannot_be_sampled_stops_at_check(repository: Path) -> None:
    (repository / "cache" / "images").mkdir()
    (repository / "cache" / "images" / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(UserError, match=r"model\.diffusers\.name .*a StableDiffusionPipeline, which is not known"):
        check.main(chosen("cache/images"))
    with pytest.raises(UserError, match=r"model\.diffusers\.name: there is no directory \./gone"):
        check.main(chosen("./gone"))
    with pytest.raises(UserError, match=r"sample\.weights: found 'int8'; a pipeline of diffusers has float32"):
        chosen(weights="int8")
    assert not EXTERNAL.exists()

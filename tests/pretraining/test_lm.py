"""The rounds of the language models' training, on a few short clips."""

import copy
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from musicgen_lite import codec, models
from musicgen_lite.io.arrays import ArrayStore
from musicgen_lite.io.files import read_json
from musicgen_lite.pretrained import shipped
from musicgen_lite.sources import synthetic
from pretraining import lm, lm_corpus, lm_rounds, ship
from pretraining.corpus import PARAMS

pytestmark = pytest.mark.slow

SMALL = {"d_model": 16, "layers": 1, "heads": 2}
TRAIN = {"steps": 2, "effective_batch_size": 4, "batch_size": 4, "crop_seconds": 1.0, "validations": 1}


@pytest.fixture(scope="module")
def params() -> dict[str, Any]:
    tree = copy.deepcopy(yaml.safe_load(PARAMS.read_text())["lm"])
    tree["corpus"] |= {"clips": 20, "held_out": 4, "seconds": 2.0, "prompt_seconds": 0.5}
    tree["params"]["model"]["a"] |= SMALL
    tree["params"]["train"] |= TRAIN
    tree["params"]["sample"] = {"seconds": 1.0}
    return tree


@pytest.fixture(scope="module")
def corpora(params: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lm")
    for number in (0, 1):
        lm_corpus.write(number, params["corpus"], "embedded", folder / f"{number:02d}")
    return folder


def test_a_round_has_seeds_of_its_own_and_the_held_out_clips_of_all(corpora: Path) -> None:
    first, second = (
        ArrayStore(corpora / name / "tokens" / "target").index.set_index("key")["split"] for name in ("00", "01")
    )
    assert set(first.index) & set(second.index) == set(first.index[first == "validation"])
    assert first.value_counts().to_dict() == {"train": 20, "validation": 4}


def test_windows_are_encoded_by_themselves(corpora: Path) -> None:
    model = codec.load("embedded", num_codebooks=4)
    key = "syn-60000017"
    wave = torch.from_numpy(synthetic.clip(60_000_017, "train", 2.0, 16000).samples)
    for name, part in (("prompt", wave[:8000]), ("target", wave[8000:])):
        codes = ArrayStore(corpora / "00" / "tokens" / name)[key]
        assert (codes == model.encode(part[None])[0].numpy().T).all()


def test_a_round_goes_on_from_the_one_before_or_from_what_is_shipped(
    corpora: Path, params: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, weights = tmp_path / "states", tmp_path / "weights"
    places: dict[str, Any] = {"corpora": corpora, "places": (states, tmp_path), "work": tmp_path / "work"}
    lm.train("a", 0, params, **places)
    state = states / "a.safetensors"
    trained = models.load(tmp_path / "work" / "a-00" / "model.safetensors")[0].state_dict()
    kept = models.load(state)[0].state_dict()
    assert all(torch.equal(value.half().float(), kept[name]) for name, value in trained.items())

    with pytest.raises(SystemExit, match="1 rounds are complete, so the next one is 1, not 0"):
        lm.train("a", 0, params, **places)
    monkeypatch.setattr(shipped, "ROOT", weights)
    weights.mkdir()
    assert ship.ship(states, weights) == ["a"]
    assert shipped.model_file("a", weights).read_bytes() == state.read_bytes()
    state.unlink()
    lm.train("a", 1, params, **places)
    rounds = read_json(tmp_path / "a.json")
    assert [one["seeds"] for one in rounds] == [[60_000_000, 60_000_019], [60_000_020, 60_000_039]]
    assert rounds[1]["val_loss"] < rounds[0]["val_loss"]


def test_a_growing_training_takes_in_the_rounds_that_are_written_meanwhile(
    corpora: Path, params: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = tmp_path / "corpora"
    growing.mkdir()
    shutil.copytree(corpora / "00", growing / "00")
    tree = copy.deepcopy(params)
    tree["params"]["train"] |= {"steps": 6, "validations": 3}
    loaders = []
    train_dataloader = lm_rounds.GrowingData.train_dataloader

    def recorded(self: lm_rounds.GrowingData) -> Any:
        loader = train_dataloader(self)
        loaders.append((list(self.rounds), len(loader.sampler.clips), loader.dataset.corpus.clips("validation")))
        if len(loaders) == 1:  # the second round comes while the first interval trains
            shutil.copytree(corpora / "01", growing / "01")
        return loader

    monkeypatch.setattr(lm_rounds.GrowingData, "train_dataloader", recorded)
    places: dict[str, Any] = {"corpora": growing, "places": (tmp_path / "states", tmp_path), "work": tmp_path / "work"}
    lm.train("a", 0, tree, **places, growing=True)
    held_out = loaders[0][2]
    assert loaders == [([0], 20, held_out), ([0, 1], 40, held_out), ([0, 1], 40, held_out)]
    assert read_json(tmp_path / "a.json")[0]["seeds"] == [60_000_000, 60_000_039]


def test_joined_rounds_hold_each_clip_once_as_its_round_does(corpora: Path, tmp_path: Path) -> None:
    corpus = lm_rounds.joined([corpora / "00", corpora / "01"], tmp_path / "both")
    assert len(corpus.clips("train")) == 40
    assert len(corpus.clips("validation")) == 4
    for number, key in (("00", "syn-60000003"), ("01", "syn-60000025"), ("01", "syn-69000001")):
        for store, found in (
            ("tokens/target", corpus.targets),
            ("tokens/prompt", corpus.prompts),
            ("text", corpus.text),
        ):
            assert (found[key] == ArrayStore(corpora / number / store)[key]).all()


def test_workers_compose_what_one_process_does(params: dict[str, Any], corpora: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        lm_corpus.write(0, params["corpus"], "embedded", tmp_path, pool, ahead=2)
    for name in ("tokens/target/shard-00000.npy", "tokens/target/index.parquet", "text/shard-00000.npy"):
        assert (tmp_path / name).read_bytes() == (corpora / "00" / name).read_bytes()

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from musicgen_lite import models
from musicgen_lite.errors import UserError
from tests.support.models_tiny import VARIANTS, conditions, random_codes, tiny


@pytest.mark.parametrize(("kind", "pattern", "positions"), VARIANTS)
def test_a_saved_model_comes_back_whole(kind: str, pattern: str, positions: str, tmp_path: Path) -> None:
    model = tiny(kind, pattern, positions=positions).train()
    models.save(tmp_path / "model.safetensors", model, {"steps": 7, "note": "é"})
    back, extra = models.load(tmp_path / "model.safetensors")
    assert extra == {"steps": 7, "note": "é"}
    assert back.config == model.config
    assert not back.training
    with torch.no_grad():
        given, codes = conditions(2, kind), random_codes(2, 5)
        assert torch.equal(back(codes, given), model.eval()(codes, given))


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    for name in "xy":
        models.save(tmp_path / name, tiny("b", "delay"), {"z": 1, "a": 2})
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "y"]


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    models.save(path, tiny("a", "delay"))
    whole = path.read_bytes()

    def refused(words: str) -> None:
        with pytest.raises(UserError, match=words) as caught:
            models.load(path)
        assert str(path) in str(caught.value)

    for size in (0, 5, 300, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        refused("cut off")
    path.write_text("RIFF, but not really")
    refused("cut off")
    path.unlink()
    refused("no model file")
    save_file({"weight": torch.ones(2)}, path)
    refused("not a model of this project")


def test_weights_that_do_not_fit_their_config_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = tiny("a", "delay")
    models.save(path, model)
    tensors, header = load_file(path), {"config": model.config.to_dict(), "extra": {}}
    for config, words in (
        ({**header["config"], "layers": 3}, "Missing key"),
        ({**header["config"], "d_model": 64}, "size mismatch"),
        ({**header["config"], "heads": 5}, "even multiple"),
        ({"type": "a"}, "missing keys"),
    ):
        save_file(tensors, path, metadata={models.HEADER: json.dumps({**header, "config": config})})
        with pytest.raises(UserError, match=words):
            models.load(path)
    save_file(tensors, path, metadata={models.HEADER: "{"})
    with pytest.raises(UserError, match="do not fit"):
        models.load(path)

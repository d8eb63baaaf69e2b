"""Parameters: the shipped file is valid, and every kind of mistake is named with what is allowed."""

import json
import math
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from ruamel.yaml import YAML
from transformers import EncodecConfig

from musicgen_lite import params, params_base, presets
from musicgen_lite.errors import UserError
from musicgen_lite.models.musicgen import TRAINED_SECONDS
from musicgen_lite.pretrained import shipped

FILE = Path(__file__).parent.parent / "params.yaml"


def tree() -> dict[str, Any]:
    return dict(YAML(typ="safe").load(FILE.read_text()))


def change(path: str, value: Any) -> dict[str, Any]:
    changed = tree()
    section: Any = changed
    *sections, key = path.split(".")
    for name in sections:
        section = section[name]
    section[key] = value
    return changed


def test_shipped_file_is_valid_and_frozen() -> None:
    loaded = params.load(FILE)
    assert loaded.model.decoder is loaded.model.a
    with pytest.raises(Exception, match="frozen"):
        loaded.seed = 1


def test_every_key_has_a_comment_or_a_commented_section() -> None:
    lines = [line for line in FILE.read_text().splitlines() if ":" in line and not line.lstrip().startswith(("#", "-"))]
    leaves = [line for line in lines if line.split(":", 1)[1].split("#")[0].strip()]
    commented = [line for line in leaves if "#" in line]
    assert len(commented) / len(leaves) > 0.6


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("model.typ", "b", "did you mean model.type?"),
        ("train.learning_rat", 0.1, "did you mean train.learning_rate?"),
        ("zzz", 1, "allowed here: seed, compute, data"),
        ("model.type", "external", "model.external.audio: found ''"),
        ("model.type", "c", "model.type: found 'c'; input should be 'a', 'b', 'musicgen', 'external' or 'diffusers'"),
        ("train.steps", "many", "train.steps: found 'many'"),
        ("train.steps", -1, "train.steps: found -1; input should be greater than or equal to 0"),
        (
            "train.steps",
            0,
            "train.steps: found 0, which scores the model that train.init names as it is; it names none",
        ),
        ("sample.top_k", -1, "sample.top_k: found -1"),
        ("data.prompt_seconds", 9.0, "prompt_seconds (9) must be less than seconds (8)"),
        (
            "data.source",
            "musiccap",
            "data.source: found 'musiccap'; input should be 'synthetic', 'folder', 'musiccaps', 'jamendo' or 'hub'",
        ),
        ("data.min_seconds", 9.0, "min_seconds (9) must not exceed seconds (8)"),
        ("data.musiccaps.url", "http://mirror", "found 'http://mirror'; it must hold {ytid}"),
        ("data.musiccaps.worker", 2, "did you mean data.musiccaps.workers?"),
        ("model.a.d_model", 190, "d_model (190) must be an even multiple of heads (4)"),
        ("train.batch_size", 7, "must be a multiple of batch_size (7)"),
        ("train.batch_size", 0, "train.batch_size: found 0; allowed are auto and whole numbers from 1"),
        ("train.batch_size", "max", "train.batch_size: found 'max'; allowed are auto and whole numbers from 1"),
        ("train.batch_size", True, "train.batch_size: found True; allowed are auto"),
        ("sample.seconds", 6.0, "must not exceed train.crop_seconds"),
        ("train.crop_seconds", 7.0, "must not exceed data.seconds - data.prompt_seconds"),
        (
            "text.variants",
            ["caption", "aspect"],
            "text.variants.1: found 'aspect'; input should be 'caption', 'aspects'",
        ),
        (
            "text.variants",
            ["both", "caption", "both"],
            "text.variants: found both, caption, both; each is allowed once",
        ),
        ("text.variants", [], "text.variants: found []"),
        ("tracking.required", "yes", "tracking.required: found 'yes'"),
        ("train.betas", [0.9, 1.0], "train.betas.1: found 1.0; input should be less than 1"),
        ("train.betas", [-0.1, 0.9], "train.betas.0: found -0.1; input should be greater than or equal to 0"),
        ("train.strategy", "foo", "train.strategy: found 'foo'; input should be 'auto' or 'ddp'"),
        (
            "train.strategy",
            "fsdp",
            "averaging, whose weights are validated and kept, does not work on sharded models; use",
        ),
        (
            "train.strategy",
            "deepspeed_stage_3",
            "train.strategy: found 'deepspeed_stage_3', which gives each process a part",
        ),
        ("train.strategy", "ddp_spawn", "train.strategy: found 'ddp_spawn', whose processes hand back neither"),
        ("train.devices", 3, "batch_size: auto tries on one device"),
        ("sample.candidates", 10**9, "sample.candidates: found 1000000000; input should be less than or equal to 64"),
        ("score.protocols", ["fadtk"], "score.protocols: found fadtk; ours, which other scores need, and each of"),
        ("score.protocols", ["ours", "ours"], "score.protocols: found ours, ours; ours, which"),
        (
            "score.protocols",
            ["ours", "vggish"],
            "score.protocols.1: found 'vggish'; input should be 'ours', 'fadtk', 'kadtk', 'attm' or 'audiocraft'",
        ),
        (
            "score.protocols",
            ["ours", "audiocraft"],
            "score.vggish: found ''; the protocol audiocraft needs VGGish's weights: fetch",
        ),
        ("sample.prompts", 1, "sample.prompts: found 1; input should be greater than or equal to 2"),
        ("sample.seconds", 0.001, "sample.seconds: found 0.001; input should be greater than or equal to 0.1"),
        ("sample.temperature", 1e-300, "sample.temperature: found 1e-300; input should be greater than"),
        ("sample.fixed_prompts", ["A beat.", " "], "sample.fixed_prompts.1: found ' '; it must not be empty"),
        ("codec.num_codebooks", 9, "codec.num_codebooks: found 9; the codec embedded has 1 to 4"),
        ("codec.name", " ", "codec.name: found ' '; it must not be empty"),
        ("data.prompt_seconds", 1e-300, "data.prompt_seconds: found 1e-300; input should be greater than"),
        ("data.seconds", 1e308, "data.seconds: found 1e+308; input should be less than or equal to 300"),
        ("data.synthetic.test", 1, "data.synthetic.test: found 1; input should be greater than or equal to 4"),
        ("data.synthetic.train", 2_000_001, "data.synthetic.train: found 2000001; input should be less than"),
        ("data.min_available", 2000, "min_available (2000) must not exceed the 1376 clips that synthetic makes"),
        ("data.folder.test_fraction", 0.9, "validation_fraction (0.1) and test_fraction (0.9) must be less than 1"),
        ("data.jamendo.suffix", "", "data.jamendo.suffix: found ''; it must not be empty"),
        ("data.jamendo.clips_per_track", -1, "data.jamendo.clips_per_track: found -1; input should be greater than"),
        ("data.hub.audio", "", "data.hub.audio: found ''; it must not be empty"),
        ("data.hub.test_fraction", 0.95, "validation_fraction (0.05) and test_fraction (0.95) must be less than 1"),
        ("data.musiccaps.cache", "", "data.musiccaps.cache: found ''; it must not be empty"),
        ("tracking.experiment", "  ", "tracking.experiment: found '  '; it must not be empty"),
        ("tracking.experiment", "x" * 251, "string should have at most 250 characters"),
    ],
)
def test_mistakes_are_named(path: str, value: Any, expected: str) -> None:
    with pytest.raises(UserError) as error:
        params.parse(change(path, value))
    assert expected in str(error.value)


def numbers(section: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every number of the file by its path."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{above}{key}.")
        elif type(value) in (int, float):
            yield f"{above}{key}", value


@pytest.mark.parametrize(("path", "value"), numbers(tree()))
def test_every_number_has_bounds(path: str, value: Any) -> None:
    """What no machine can serve is refused by name, whichever parameter it is."""
    wrong = [10**30, -(10**30)] if type(value) is int else [math.inf, -math.inf, math.nan, 1e308, -1e308]
    for one in wrong:
        with pytest.raises(UserError, match=rf"  {re.escape(path)}: found {re.escape(repr(one))}; "):
            params.parse(change(path, one))
    params.parse(change(path, value))


def test_lengths_are_compared_as_they_are_cut() -> None:
    """2.3 - 1.2 is a little less than 1.1 as a computer counts."""
    assert 2.3 - 1.2 < 1.1
    lengths = change("data.seconds", 2.3)
    lengths["data"]["prompt_seconds"] = 1.2
    lengths["train"]["crop_seconds"] = lengths["sample"]["seconds"] = 1.1
    assert params.parse(lengths).train.crop_seconds == 1.1


def test_what_needs_a_gpu_or_another_batch_is_refused_before_anything_runs() -> None:
    wrong = change("train.precision", "16-mixed")
    wrong["compute"]["device"] = "cpu"
    with pytest.raises(UserError, match=r"train\.precision: found '16-mixed', which needs a GPU"):
        params.parse(wrong)
    assert params.parse(change("train.precision", "16-mixed")).train.precision == "16-mixed"
    wrong = change("train.devices", 4)
    wrong["train"]["batch_size"] = "auto"
    with pytest.raises(UserError, match=r"train.batch_size: auto tries on one device; .* at most 8"):
        params.parse(wrong)


def test_what_stands_for_other_packages_is_what_they_say() -> None:
    from lightning.pytorch.strategies import StrategyRegistry

    theirs = set(StrategyRegistry.available_strategies())
    assert {*get_args(get_args(params_base.Strategy)[0])} - {"auto"} <= theirs
    for name in theirs - {"auto", "ddp"}:
        with pytest.raises(UserError, match=rf"train\.strategy: found '{name}'"):
            params.parse(change("train.strategy", name))
    config = json.loads((shipped.path("codec") / "config.json").read_text())
    assert params.CODEBOOKS["embedded"] == EncodecConfig(**config).num_quantizers
    assert params.CODEBOOKS["encodec_24khz"] == EncodecConfig().num_quantizers
    assert params.MUSICGEN_SECONDS == TRAINED_SECONDS


def test_all_mistakes_are_reported_at_once() -> None:
    wrong = change("model.type", "c")
    wrong["train"]["steps"] = -5
    del wrong["score"]["clap"]
    with pytest.raises(UserError) as error:
        params.parse(wrong)
    for name in ("model.type", "train.steps", "score.clap: missing"):
        assert name in str(error.value)


def test_scientific_notation_is_a_number_as_dvc_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(FILE.read_text().replace("learning_rate: 0.001", "learning_rate: 1e-3"))
    assert params.load(file).train.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("path", "wrong", "expected"),
    [
        ("train.steps", "train.stepps", "train.stepps: unknown parameter; did you mean train.steps?"),
        ("sample.batch_size", "sample.rows", "sample.rows: renamed to sample.batch_size"),
    ],
)
def test_a_parameter_under_a_wrong_name_gives_one_line(path: str, wrong: str, expected: str) -> None:
    changed = change(wrong, 1)
    section, key = path.split(".")
    del changed[section][key]
    with pytest.raises(UserError) as error:
        params.parse(changed)
    (line,) = str(error.value).splitlines()[1:]
    assert line.startswith(f"  {expected}")


def test_a_name_of_another_section_is_proposed() -> None:
    with pytest.raises(UserError, match=r"did you mean model\.a\.pointer_dim or model\.b\.pointer_dim\?"):
        params.parse(change("model.pointer_dim", 3))


@pytest.mark.parametrize("text", ["- a list", "a: [1", ""])
def test_files_that_are_no_mapping(tmp_path: Path, text: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml"):
        params.load(file)


@pytest.mark.parametrize(("old", "new"), params.RENAMED.items())
def test_an_old_name_gives_the_new_one(old: str, new: str) -> None:
    names = {".".join(path) for path, _ in presets.leaves(tree())}
    assert new in names
    assert old not in names
    expected = f"  {old}: renamed to {new}; move its value there"
    with pytest.raises(UserError, match=re.escape(expected)):
        params.parse(change(old, 1))
    with pytest.raises(UserError, match=re.escape(expected)):
        presets.check_renamed(change(old, 1), "params.yaml")
    presets.check_renamed(tree(), "params.yaml")


def test_every_name_that_ever_was_is_known_or_renamed() -> None:
    """Of the commits that are here: in a shallow clone of those alone."""
    listed = subprocess.run(
        ["git", "log", "--format=%H", "--", "params.yaml"], cwd=FILE.parent, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("no git repository")
    known = {".".join(path) for path, _ in presets.leaves(tree())} | set(params.RENAMED)
    for commit in listed.stdout.split():
        text = subprocess.run(
            ["git", "show", f"{commit}:params.yaml"], cwd=FILE.parent, capture_output=True, text=True, check=False
        ).stdout
        earlier = {".".join(path) for path, _ in presets.leaves(YAML(typ="safe").load(text) or {})}
        assert earlier <= known, f"{commit}: {sorted(earlier - known)} are gone: add them to params.RENAMED"


def test_missing_file() -> None:
    with pytest.raises(UserError, match="run from the root"):
        params.load("nowhere.yaml")


def test_a_published_model_has_its_own_pattern_and_no_sizes() -> None:
    published = change("model.type", "musicgen")
    assert params.parse(published).model.decoder is None
    published["data"]["seconds"] = 40.0
    published["train"]["crop_seconds"] = 31.0
    with pytest.raises(UserError, match=r"train\.crop_seconds: found 31; MusicGen was trained on 30 s"):
        params.parse(published)
    published["model"]["pattern"] = "interleaved"
    with pytest.raises(UserError, match=r"model\.pattern: found 'interleaved'; MusicGen predicts in the pattern delay"):
        params.parse(published)


def test_lora_needs_a_model_to_add_to() -> None:
    tuned = change("train.lora.rank", 4)
    with pytest.raises(
        UserError, match=r"train\.lora\.rank: found 4; LoRA adds to the weights of a model, which train\.init"
    ):
        params.parse(tuned)
    tuned["train"]["init"] = "shipped"
    assert params.parse(tuned).train.lora.rank == 4
    tuned["train"]["lora"]["targets"] = []
    with pytest.raises(UserError, match=r"train\.lora\.targets: "):
        params.parse(tuned)


def test_prompts_are_of_no_use_to_another_system() -> None:
    tree = change("sample.prompts_file", "p.txt")
    tree["model"] |= {"type": "external", "external": {"name": "x", "audio": "made", "prompts": ""}}
    with pytest.raises(UserError, match=r"sample\.prompts_file: found 'p\.txt'; with model\.type external nothing"):
        params.parse(tree)

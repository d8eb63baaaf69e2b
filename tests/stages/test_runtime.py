"""What a row in MLflow says of a training, and which parameters tell one from another."""

from pathlib import Path

from musicgen_lite import params
from musicgen_lite.params import Params

ROOT = Path(__file__).parent.parent.parent


def chosen(kind: str) -> Params:
    shipped = params.load(ROOT / "params.yaml")
    return shipped.model_copy(update={"model": shipped.model.model_copy(update={"type": kind})})


def test_of_the_models_sections_only_the_chosen_one_counts() -> None:
    a, b = chosen("a").training()["model"], chosen("b").training()["model"]
    assert set(b) - set(a) == {"dropout_audio"}
    assert {"type", "pattern", "d_model"} <= set(a)
    assert not {"a", "b", "musicgen", "external", "diffusers", "name"} & set(a)


def test_a_published_model_has_no_parameters_of_training() -> None:
    found = chosen("musicgen").training()
    assert found["model"] == {"type": "musicgen", "pattern": "delay", "name": "facebook/musicgen-small"}
    assert set(found) == {"seed", "compute", "data", "codec", "text", "model"}


def test_a_published_model_that_is_trained_on_goes_by_where_it_started() -> None:
    published = chosen("musicgen")
    tuned = published.model_copy(update={"train": published.train.model_copy(update={"init": "owner/name"})})
    found = tuned.training()
    assert found["model"] == {"type": "musicgen", "pattern": "delay", "dropout_text": 0.1}
    assert (found["train"]["init"], found["train"]["lora"]["rank"]) == ("owner/name", 0)


def test_another_system_has_no_parameters_of_training_and_sampling() -> None:
    system = chosen("external")
    assert system.training()["model"] == {"type": "external", "name": "external", "audio": "", "prompts": ""}
    assert set(system.training()) == {"seed", "compute", "data", "codec", "model"}
    assert set(system.scoring()["sample"]) == {"prompts", "seconds"}
    assert system.scoring()["score"] == chosen("a").scoring()["score"]
    assert {"candidates", "guidance"} <= set(chosen("a").scoring()["sample"])


def test_a_pipeline_of_diffusers_has_its_own_parameters_of_sampling() -> None:
    pipeline = chosen("diffusers")
    assert set(pipeline.training()["model"]) == {"type", "name", "steps", "guidance"}
    assert set(pipeline.training()) == {"seed", "compute", "data", "codec", "model"}
    sampled = set(pipeline.scoring()["sample"])
    assert {"prompts", "seconds", "candidates", "weights"} <= sampled
    assert not {"guidance", "temperature", "top_k", "kv_cache", "batch_size"} & sampled

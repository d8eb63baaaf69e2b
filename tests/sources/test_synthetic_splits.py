"""No test piece of the default run was ever trained on: neither by its models nor by the shipped ones."""

import itertools
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from musicgen_lite import params, params_data
from musicgen_lite.sources.synthetic import SPLIT_STRIDE, compose
from pretraining import corpus

ROOT = Path(__file__).parent.parent.parent


def default_seeds() -> dict[str, range]:
    """Seeds of the default run's splits."""
    own = params.load(ROOT / "params.yaml").data.synthetic
    counts = {"train": own.train, "validation": own.validation, "test": own.test}
    return {
        split: range(own.seed + number * SPLIT_STRIDE, own.seed + number * SPLIT_STRIDE + count)
        for number, (split, count) in enumerate(counts.items())
    }


def pretraining_seeds() -> list[range]:
    """Seeds of everything that the shipped models were trained on."""
    tree = YAML(typ="safe").load((ROOT / "pretraining" / "params.yaml").read_text())
    text, clap = tree["text"], tree["clap"]
    return [
        *corpus.seeds(tree["corpus"]),
        *corpus.seeds(tree["sampled"]),
        range(text["first_seed"], text["first_seed"] + text["compositions"] + text["probe_fit"] + text["probe_test"]),
        *(range(m["first_seed"], m["first_seed"] + clap["clips"] + clap["held_out"]) for m in clap["models"].values()),
    ]


def test_seeds_never_meet() -> None:
    ranges = sorted([*default_seeds().values(), *pretraining_seeds()], key=lambda one: one.start)
    assert all(first.stop <= second.start for first, second in itertools.pairwise(ranges))
    highest = params_data.SyntheticParams.model_fields["seed"].metadata
    assert any(getattr(bound, "lt", None) == 4_000_000 for bound in highest), (
        "larger seeds would reach the shipped models'"
    )


@pytest.mark.slow
def test_no_test_note_sequence_is_in_training() -> None:
    seconds = params.load(ROOT / "params.yaml").data.seconds
    own = default_seeds()
    trained_on = [*own["train"], *own["validation"], *(seed for one in pretraining_seeds() for seed in one)]
    test = {compose(seed, seconds).digest() for seed in own["test"]}
    assert len(test) == len(own["test"])
    assert not test & {compose(seed, seconds).digest() for seed in trained_on}

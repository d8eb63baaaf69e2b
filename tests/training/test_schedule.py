"""Learning rates and averaged weights, of language models and of the pretrained models."""

import math

import pytest
import torch
from torch import nn

from musicgen_lite.training.schedule import ema_decay, learning_rate_factor, update_ema
from pretraining import schedule


def test_the_schedule_warms_up_linearly_and_falls_as_a_cosine() -> None:
    factors = [learning_rate_factor(step, 100, 0.1, 0.05) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    for step in range(10, 100):
        angle = math.pi * (step - 9) / 90
        assert factors[step] == pytest.approx(0.05 + 0.95 * (1 + math.cos(angle)) / 2)
    assert factors[-1] == pytest.approx(0.05)
    assert factors[9] == 1.0
    assert learning_rate_factor(0, 1, 0.1, 0.05) == pytest.approx(0.05)  # no warmup, and the first step is the last


def test_the_pretrained_models_warm_up_linearly_and_fall_as_a_cosine_to_two_percent() -> None:
    params = {"learning_rate": 0.002, "warmup_steps": 10, "steps": 100}
    rates = [schedule.learning_rate(step, params) for step in range(101)]
    falling = [0.002 * (0.02 + 0.98 * (1 + math.cos(math.pi * step / 100)) / 2) for step in range(101)]
    assert rates[:10] == pytest.approx([falling[step] * (step + 1) / 10 for step in range(10)])
    assert rates[10:] == pytest.approx(falling[10:])
    assert rates[-1] == pytest.approx(0.02 * 0.002)


def test_the_decay_of_the_average_warms_up() -> None:
    assert [ema_decay(n, 0.9) for n in (1, 8, 1000)] == pytest.approx([2 / 11, 9 / 18, 0.9])


def test_averaged_weights_move_towards_the_model_and_buffers_are_copied() -> None:
    average, model = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([3.0, 5.0]))
        model.running_mean = torch.tensor([7.0, 9.0])
    update_ema(average, model, 0.75)
    assert average.weight.tolist() == [1.5, 2.0]
    assert average.weight.requires_grad
    assert average.running_mean is not None
    assert average.running_mean.tolist() == [7.0, 9.0]

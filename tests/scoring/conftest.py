"""Random numbers for the tests of scores: each test has its own generator, so that none depends on which ran before."""

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)

"""Images for transforms."""

import numpy as np
import pytest


@pytest.fixture
def images(rng):
    return rng.random((40, 9, 7), dtype=np.float32)

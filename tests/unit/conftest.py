"""For the unit tests: dice that can be thrown again."""
import os
import random

import pytest


@pytest.fixture
def dice():
    """A random.Random; a failing test shows its seed, and WS2S_TEST_SEED repeats it on the same Python."""
    seed = int(os.environ.get('WS2S_TEST_SEED') or random.SystemRandom().randrange(2 ** 32))
    print('WS2S_TEST_SEED=%d' % seed)
    return random.Random(seed)

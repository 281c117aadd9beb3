"""Named random streams: every random choice flows from one seed, and none depends on what ran before it."""

import hashlib
import json

import numpy as np


def derive(seed: int, *names: object) -> int:
    """Return a 63-bit seed for the stream `names` under `seed`: BLAKE2b of both, the same on every machine."""
    text = json.dumps([int(seed), *map(str, names)], separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *names: object) -> np.random.Generator:
    """Return a numpy generator for the stream `names` under `seed`."""
    return np.random.default_rng(derive(seed, *names))

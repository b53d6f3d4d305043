"""Ids of the special tokens, and the type of token sequences: shared by all packages, and free of torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PAD, UNK, BOS, EOS = 0, 1, 2, 3

TokenIds = NDArray[np.int64]

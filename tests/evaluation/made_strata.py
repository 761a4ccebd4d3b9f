"""Benchmarks as they are divided: items of each of MMLU's 57 subjects, by name, and of MMLU-Pro's 14 categories."""

import numpy as np

MMLU = np.array(
    [
        *(100, 135, 152, 100, 265, 144, 100, 100, 100, 173, 102, 100, 235, 114, 145, 378, 126, 100, 310, 203),
        *(100, 165, 198, 193, 390, 270, 238, 151, 545, 216, 204, 237, 223, 131, 121, 108, 163, 112, 103, 234),
        *(100, 783, 346, 895, 306, 311, 324, 282, 1534, 272, 612, 110, 245, 201, 100, 166, 171),
    ]
)
MMLU_PRO = np.array([717, 789, 1132, 410, 844, 969, 818, 381, 1101, 1351, 924, 499, 1299, 798])


def labels(sizes: np.ndarray) -> list[int]:
    """The stratum of each item."""
    return np.repeat(np.arange(len(sizes)), sizes).tolist()

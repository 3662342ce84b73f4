"""Handwritten digits: 1,797 images of 8 x 8 pixels in ten classes, shipped with resexp (data/digits.txt tells of them).

1,437 of them to train on and 360 to test on, one in five of each class.

Source: Alpaydin and Kaynak 1998, UCI Machine Learning Repository, doi 10.24432/C50P49; CC BY 4.0.
"""

from importlib.resources import files

import numpy as np

from resexp.training.data.dataset import Data, standardised, stratified

CLASSES = 10


def load() -> Data:
    """The digits, (1, 8, 8) each."""
    with files(__package__).joinpath("digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
        images, labels = stored["images"][:, None], stored["labels"]  # (1797, 1, 8, 8), (1797,)
    train, test = stratified(labels)
    return standardised("digits", (images[train], labels[train]), (images[test], labels[test]), classes=CLASSES)

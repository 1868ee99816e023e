"""MR-MTL, the published way to personalise under privacy (Liu et al. 2022, arXiv:2206.07902), for comparison.

Each organisation fits a ridge-regularised model of its own towards a mean model learnt privately from all of them.
There the mean is that of the local models, updated round by round; here it is the released federated model, at the
same privacy, and each organisation fits once after training. The strength λ, in the paper one for all and tuned, is
here chosen by each organisation on its own training rows, which costs no privacy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fedcrm.features.table import FeatureTable
from fedcrm.models.adapted import GlobalModel
from fedcrm.models.local_prior import FoldedRows, Prior, fit_all
from fedcrm.models.stack import losses

STRENGTHS = (0.3, 3.0, 30.0, 300.0, 3_000.0, 1e6)
"""λ in units; the last stays with the mean model."""
_FOLDS = 3


@dataclass(frozen=True, slots=True, repr=False)
class MeanRegularisedModel:
    """One organisation's coefficients in the mean model's design.

    Attributes:
        model: The mean model.
        coefficients: float64 [1 + D].
        strength: λ chosen.
    """

    model: GlobalModel
    coefficients: NDArray[np.float64]
    strength: float

    def predict(self, rows: FeatureTable) -> NDArray[np.float64]:
        """Probability of label 1, float64 [rows]."""
        return np.asarray(expit(self.model.design(rows) @ self.coefficients))


def fit_mean_regularised(model: GlobalModel, training: FeatureTable, *, seed: int) -> MeanRegularisedModel:
    """The organisation's ridge model towards `model`, λ by the likelihood of units left out."""
    rows = _folded(model.design(training), training, np.random.default_rng(seed))
    curvatures = rows.curvatures(model.mean)
    fits = {s: fit_all(rows, Prior(model.mean, s * np.eye(model.mean.shape[0])), curvatures) for s in STRENGTHS}
    loss = {s: float(rows.weight @ losses(rows.label, found.out_of_fold)) for s, found in fits.items()}
    best = min(reversed(STRENGTHS), key=lambda s: loss[s])
    return MeanRegularisedModel(model, fits[best].coefficients[-1], best)


def _folded(design: NDArray[np.float64], table: FeatureTable, stream: np.random.Generator) -> FoldedRows:
    lengths = np.diff(table.offsets)
    fold = np.repeat(stream.permutation(lengths.shape[0]) % _FOLDS, lengths).astype(np.int64)
    weight = np.repeat(1.0 / np.maximum(lengths, 1), lengths)
    return FoldedRows(design, np.zeros(table.rows), table.label.astype(np.float64), weight, fold, _FOLDS)

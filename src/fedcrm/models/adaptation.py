"""Adaptation: each organisation fits the global model to its own rows, locally and at no privacy cost."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedcrm.models.learner import Explanation, UnitRows


class GlobalModel(Protocol):
    """What adaptation needs of a released model: a score linear in a design, and what is known of its coefficients."""

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the parts a score is made of, base left out."""
        ...

    @property
    def component_of(self) -> NDArray[np.int64]:
        """Component of each coefficient, base left out, int64 [D]."""
        ...

    @property
    def mean(self) -> NDArray[np.float64]:
        """Posterior mean, base first, float64 [1 + D]."""
        ...

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Posterior covariance, the noise of the releases included, base first, float64 [1 + D, 1 + D]."""
        ...

    @property
    def prior_variance(self) -> NDArray[np.float64]:
        """Learnt prior variance of each coefficient, base left out, float64 [D]."""
        ...

    def log_odds(self, rows: UnitRows) -> NDArray[np.float64]:
        """Score of each row, float64 [rows]."""
        ...

    def design(self, rows: UnitRows) -> NDArray[np.float64]:
        """[1, φ] of each row, float64 [rows, 1 + D]; `design(rows) @ mean` is `log_odds(rows)`."""
        ...

    def explain(self, rows: UnitRows) -> list[Explanation]:
        """For each row, what each component adds to the log-odds."""
        ...

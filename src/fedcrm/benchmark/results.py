"""results.json: figures of a benchmark, checked when written and when read. A figure that is not defined is null."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from fedcrm.errors import InputError

FORMAT_VERSION = 1
"""Version of the file's shape."""


def _null_if_undefined(value: object) -> object:
    return None if isinstance(value, float) and value != value else value


Figure = Annotated[float | None, BeforeValidator(_null_if_undefined)]
"""A number, or null where the data do not define it (AUC on one class)."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelResult(_Part):
    """One model on one table, means over seeds.

    Attributes:
        auc: Mean of `auc_by_org` over organisations where it is defined, each counting once.
        accuracy: Over all held-out rows, threshold ½.
        log_loss: Over all held-out rows, nats.
        auc_by_org: AUC of each organisation's held-out rows.
        auc_pooled: AUC of all held-out rows together.
        ci95: Bootstrap interval of `auc` over held-out units.
    """

    auc: Figure
    accuracy: Figure
    log_loss: Figure
    auc_by_org: dict[str, Figure]
    auc_pooled: Figure
    ci95: tuple[Figure, Figure]


class LedgerResult(_Part):
    """What an organisation allowed for one run and what the run spent."""

    epsilon_budget: float
    epsilon_spent: float


class SecondsResult(_Part):
    """Wall time of one federated run: the learner's share, the cryptography's, and all of it."""

    train: float
    crypto: float
    total: float


class DatasetResult(_Part):
    """One table. `epsilon` is the reference budget; `bytes_up_per_org` the mean sent by one organisation in a run."""

    name: str
    task: str
    rows: int
    orgs: int
    epsilon: float
    delta: float
    threshold: int
    cohort_minimum: int
    collusion_bound: int
    unit: str
    models: dict[str, ModelResult]
    ledger: dict[str, LedgerResult]
    rounds: int
    seconds: SecondsResult
    bytes_up_per_org: int


class SchemeResult(_Part):
    """One way to weigh organisations, means over splits.

    Attributes:
        auc: Mean AUC of the global model over organisations, each counting once.
        auc_by_org: AUC of each organisation's held-out rows.
        auc_by_split: `auc` of each split.
        difference: `auc` minus that of the scheme compared with, paired by split.
        auc_adapted: `auc` after each organisation adapted the model to its own training rows; null when none did.
    """

    auc: Figure
    auc_by_org: dict[str, Figure]
    auc_by_split: list[Figure]
    difference: Figure
    auc_adapted: Figure


class QuestionResult(_Part):
    """One question of an ablation: schemes by name, and the one they are compared with."""

    compared_with: str
    schemes: dict[str, SchemeResult]


class AblationResult(_Part):
    """What weights are worth on one table.

    Attributes:
        name: The table.
        epsilon: ε of every organisation where budgets are not mixed.
        corrupted: Organisations with wrong labels, one list a split.
        questions: Answers by question.
    """

    name: str
    epsilon: float
    corrupted: list[list[str]]
    questions: dict[str, QuestionResult]


class Results(_Part):
    """A whole benchmark; `ablation` is there when it was asked for."""

    version: int
    seeds: int
    split: str
    datasets: list[DatasetResult]
    ablation: list[AblationResult] | None = None

    def to_json(self) -> str:
        """The file's text."""
        left_out = {"ablation"} if self.ablation is None else None
        facts = self.model_dump(mode="json", exclude=left_out)
        return json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_results(path: Path) -> Results:
    """Read a results.json.

    Raises:
        InputError: when it is absent or not of this shape.
    """
    try:
        return Results.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise InputError(
            f"{path.name} is not a benchmark's results ({type(error).__name__})",
            why="a report on half-read figures would be wrong",
            fix="run the benchmark again",
            where=str(path),
        ) from error


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all (temporary file beside it, then rename)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

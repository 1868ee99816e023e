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


class DifferenceResult(_Part):
    """A difference of AUC with its paired bootstrap interval."""

    mean: Figure
    ci95: tuple[Figure, Figure]


class ComparisonResult(_Part):
    """What federation changed.

    Attributes:
        gain: fedcrm − local_best, mean over organisations.
        gap: centralised_boosted − fedcrm, mean over organisations.
        by_org: fedcrm − local_best at each organisation.
        worse: Organisations where that is below zero by more than noise (paired bootstrap, 95 %, Holm).
    """

    gain: DifferenceResult
    gap: DifferenceResult
    by_org: dict[str, DifferenceResult]
    worse: list[str]


class DatasetResult(_Part):
    """One table.

    Attributes:
        epsilon: The reference budget.
        bytes_up_per_org: Mean sent by one organisation in a run.
        findings: What is to be known of the released models themselves, whatever the figures say.
    """

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
    comparison: ComparisonResult
    findings: list[str] = []


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


class WithRowsResult(_Part):
    """What a newcomer has from so many of its own training units, means over splits.

    Attributes:
        units: Training units used.
        adapted: AUC of the model of the others, adapted to them.
        own: AUC of the better of the two models the newcomer can train on them alone.
    """

    units: float
    adapted: Figure
    own: Figure


class NewcomerResult(_Part):
    """One organisation that joins a model trained without it.

    Attributes:
        organisation: Its name.
        at_once: AUC of the others' model on its held-out rows, before it adapts anything.
        with_rows: By number of training units ("50", "200", "all"); those it has.
        full_federation: AUC had it taken part in training, adapted to all its training rows.
    """

    organisation: str
    at_once: Figure
    with_rows: dict[str, WithRowsResult]
    full_federation: Figure


class JoiningResult(_Part):
    """What joining an existing model is worth on one table, for its largest, median and smallest organisation."""

    name: str
    epsilon: float
    newcomers: list[NewcomerResult]


class Further(_Part):
    """What a benchmark was asked for beside its models: weights, and joining, a part a table each."""

    weights: tuple[AblationResult, ...] = ()
    joining: tuple[JoiningResult, ...] = ()


class Results(_Part):
    """A whole benchmark; `ablation` and `joining` are there when they were asked for."""

    version: int
    seeds: int
    split: str
    datasets: list[DatasetResult]
    ablation: list[AblationResult] | None = None
    joining: list[JoiningResult] | None = None

    def to_json(self) -> str:
        """The file's text."""
        left_out = {part for part in ("ablation", "joining") if getattr(self, part) is None}
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

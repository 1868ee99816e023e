"""Public declarations of feature columns: what federated training may know for free.

Nothing here comes from a record. A coordinator may import this module; it may not import `fedcrm.features.table`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

HASH_BUCKETS = 64
"""Levels of a category column without a declared list: a public hash of the text, modulo this."""


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A number with a public range; `low` and `high` are None until declared or paid for by a private release."""

    name: str
    low: float | None = None
    high: float | None = None
    whole: bool = False
    scale: Literal["linear", "log"] = "linear"

    @property
    def declared(self) -> bool:
        """Whether the public range is known."""
        return self.low is not None and self.high is not None


@dataclass(frozen=True, slots=True)
class CategoryColumn:
    """A category with a public list of values; None means public hash buckets (`HASH_BUCKETS`)."""

    name: str
    values: tuple[str, ...] | None = None

    @property
    def levels(self) -> int:
        """Number of cells without missing and other."""
        return HASH_BUCKETS if self.values is None else len(self.values)


Column: TypeAlias = NumberColumn | CategoryColumn


@dataclass(frozen=True, slots=True)
class FeatureSchema:
    """The columns of a feature table, in their public order (numbers and categories may alternate)."""

    columns: tuple[Column, ...]

    @property
    def numbers(self) -> tuple[NumberColumn, ...]:
        """The number columns, in order; a table's `numbers` array has one column for each."""
        return tuple(c for c in self.columns if isinstance(c, NumberColumn))

    @property
    def categories(self) -> tuple[CategoryColumn, ...]:
        """The category columns, in order; a table's `codes` array has one column for each."""
        return tuple(c for c in self.columns if isinstance(c, CategoryColumn))

    def to_json(self) -> str:
        """Canonical JSON text: equal schemas give equal text."""
        return json.dumps([{"kind": type(c).__name__, **asdict(c)} for c in self.columns], sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> FeatureSchema:
        """Read what `to_json` wrote."""
        kinds = {"NumberColumn": NumberColumn, "CategoryColumn": CategoryColumn}
        columns: list[Column] = []
        for entry in json.loads(text):
            kind = kinds[entry.pop("kind")]
            if entry.get("values") is not None:
                entry["values"] = tuple(entry["values"])
            columns.append(kind(**entry))
        return cls(tuple(columns))

    @property
    def digest(self) -> bytes:
        """SHA-256 of `to_json`."""
        return hashlib.sha256(self.to_json().encode()).digest()

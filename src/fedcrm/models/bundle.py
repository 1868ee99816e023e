"""A bundle: named plain facts and named arrays, with one byte form. States, queries and models are bundles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgpack
import numpy as np
from numpy.typing import NDArray

from fedcrm.errors import InputError

Fact: TypeAlias = str | int | float | bool | None
Array: TypeAlias = NDArray[np.float64] | NDArray[np.int64]

_FORMAT = 1
_DTYPES = {"f": np.dtype("<f8"), "i": np.dtype("<i8")}


@dataclass(frozen=True, slots=True)
class Bundle:
    """Facts (strings, numbers) and arrays (float64 or int64) under names. Nothing executable, no pickle."""

    facts: Mapping[str, Fact] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)

    def __repr__(self) -> str:
        shapes = {name: tuple(a.shape) for name, a in self.arrays.items()}
        return f"Bundle(facts={sorted(self.facts)}, arrays={shapes})"

    def to_bytes(self) -> bytes:
        """Deterministic bytes: names sorted, arrays little-endian and contiguous."""
        arrays = {
            name: [a.dtype.kind, list(a.shape), np.ascontiguousarray(a, _DTYPES[a.dtype.kind]).tobytes()]
            for name, a in sorted(self.arrays.items())
        }
        packed: bytes = msgpack.packb([_FORMAT, dict(sorted(self.facts.items())), arrays])
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Bundle:
        """Read what `to_bytes` wrote.

        Raises:
            InputError: when the bytes are not a bundle (damaged, foreign, another version).
        """
        try:
            version, facts, packed = msgpack.unpackb(data)
            if version != _FORMAT or not all(isinstance(k, str) for k in facts):
                raise ValueError("unknown version")
            if not all(isinstance(v, Fact) for v in facts.values()):
                raise ValueError("a fact is not plain")
            arrays = {
                name: np.frombuffer(raw, _DTYPES[kind]).reshape(shape) for name, (kind, shape, raw) in packed.items()
            }
        except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException) as error:
            raise InputError(
                f"bytes are not a bundle ({type(error).__name__})",
                why="a state, query or model that cannot be read whole must not be used in part",
                fix="fetch it again, or resume from the last good checkpoint",
            ) from error
        return cls(facts, arrays)

"""Processes for the models without privacy: one per core, one thread each; small tables stay in this process."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

_P = ParamSpec("_P")
_T = TypeVar("_T")

_WORTH_PROCESSES = 30_000
"""Rows below which starting processes takes longer than it saves."""


class InThisProcess(Executor):
    """Runs each task at once, where it is submitted."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """The task's result, already there; what it raises is raised here."""
        future: Future[_T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def workers(rows: int) -> Iterator[Executor]:
    """An executor fit for this many rows in all."""
    cores = os.cpu_count() or 1
    if rows < _WORTH_PROCESSES or cores == 1:
        yield InThisProcess()
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context, initializer=threadpool_limits, initargs=(1,)) as executor:
        yield executor

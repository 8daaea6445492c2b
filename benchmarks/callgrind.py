"""Instructions that a process executes, counted by valgrind's callgrind."""

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .build import HERE


def count(command: list[str], environment: Mapping[str, str] | None = None) -> tuple[str, list[int]]:
    """Run a command: what it printed, and its instructions between one call of os.getppid() and the next."""
    with tempfile.TemporaryDirectory() as scratch:
        callgrind = ["valgrind", "-q", "--tool=callgrind", "--dump-before=getppid"]
        done = subprocess.run(
            [*callgrind, f"--callgrind-out-file={scratch}/out", *command],
            cwd=HERE.parent, env=environment, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        totals = []
        for dump in sorted(Path(scratch).glob("out.*"), key=lambda path: int(path.suffix[1:])):
            found = re.search(r"^totals: (\d+)", dump.read_text(), re.MULTILINE)
            assert found, f"no total in {dump}"
            totals.append(int(found[1]))
    return done.stdout, totals

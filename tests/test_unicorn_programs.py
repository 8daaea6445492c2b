"""The machine code in these tests is what the source beside it assembles to."""

import subprocess
from pathlib import Path

import pytest
import required

pytest.importorskip("unicorn", exc_type=ImportError)

import test_run  # noqa: F401
import test_unicorn_clock  # noqa: F401
import test_unicorn_exceptions  # noqa: F401
import test_unicorn_machine
import test_unicorn_port
import test_unicorn_smp  # noqa: F401
import unicorn_hostile  # noqa: F401
from unicorn_code import PROGRAMS, source, words

ALL = list(PROGRAMS)


def test_programs_of_all_files_are_here() -> None:
    assert len(ALL) > 30
    assert test_unicorn_machine.OFF in map(words, ALL)
    assert test_unicorn_port.HANDLER in map(words, ALL)


def test_code_is_what_its_source_assembles_to(tmp_path: Path) -> None:
    assembler, objcopy = required.tool("aarch64-linux-gnu-as"), required.tool("aarch64-linux-gnu-objcopy")
    for number, text in enumerate(ALL):
        path = tmp_path / f"{number}.s"
        path.write_text(source(text))
        subprocess.run([assembler, "-march=armv8-a", "-o", path.with_suffix(".o"), path], check=True)
        subprocess.run(
            [objcopy, "-O", "binary", "-j", ".text", path.with_suffix(".o"), path.with_suffix(".bin")], check=True
        )
        assert path.with_suffix(".bin").read_bytes() == words(text), text

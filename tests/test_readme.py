"""The examples of the README and of docs/ run as printed and print what is said there; tables name all there is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gicv3.plug import HotplugEvent, HotplugStage

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def examples(document: str) -> list[tuple[str, str]]:
    """Every ```python block, and what it prints: the ```text block that follows directly, or nothing."""
    blocks = r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?"
    return [
        (program, printed)
        for program, printed in re.findall(blocks, document, re.DOTALL | re.MULTILINE)
        if "server.wait_quit()" not in program  # which waits for somebody to end it
    ]


EXAMPLES = [
    pytest.param(*example, id=f"{path.name}-{number}")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, example in enumerate(examples(path.read_text(encoding="utf-8")))
]


def test_every_python_block_of_the_readme_prints_something() -> None:
    assert all(printed for _, printed in examples(README))
    assert len(examples(README)) == README.count("```python") > 0


@pytest.mark.parametrize(("program", "printed"), EXAMPLES)
def test_an_example_prints_what_the_document_says(program: str, printed: str, tmp_path: Path) -> None:
    if "unicorn" in program:
        pytest.importorskip("unicorn", exc_type=ImportError)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, filter(None, sys.path)))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == (printed, "")


def test_every_link_of_the_documents_leads_to_a_file() -> None:
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_design_document_names_every_part_and_module() -> None:
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    names = [part.stem for part in (ROOT / "gicv3" / "core").glob("*.pxi")]
    names += [module.name for module in (ROOT / "gicv3").glob("[!_]*.py")]
    names += [f"{package.parent.name}/" for package in (ROOT / "gicv3").glob("*/__init__.py")]
    assert [name for name in names if f"`{name}`" not in design] == []


def test_hotplug_document_tells_every_event_and_its_fields() -> None:
    document = (ROOT / "docs" / "hotplug.md").read_text(encoding="utf-8")
    names = [*HotplugStage.__members__, *HotplugEvent._fields]
    assert [name for name in names if not re.search(rf"^\| `{name}` \| .", document, re.MULTILINE)] == []

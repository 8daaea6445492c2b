"""What is shipped: the archives, a core without Cython warnings or hints, stubs that agree with the runtime."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Several builds in a row, each of the whole core.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command of this interpreter's environment and return all it printed."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=os.environ | {"PYTHONWARNINGS": "", "GICV3_BUILD": "release"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def sources() -> set[str]:
    """The Cython sources of the tree, as paths from its root."""
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / "gicv3").rglob("*.p[xy][xdi]")}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run("-m", "build", "--sdist", "--no-isolation", "--outdir", folder)
    (archive,) = folder.glob("gicv3-*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel from the unpacked source archive: what the archive lacks, the build lacks too."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # since Python 3.11.4
        archive.extractall(folder, **safely)
    (tree,) = folder.glob("gicv3-*")
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", folder, cwd=tree)
    (archive_path,) = folder.glob("gicv3-*.whl")
    return archive_path


@pytest.fixture(scope="module")
def sdist_names(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


@pytest.fixture(scope="module")
def wheel_names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_sdist_carries_every_cython_source(sdist_names: set[str], sources: set[str]) -> None:
    assert {"gicv3/_core.pyx", "gicv3/_core.pxd", "gicv3/core/state.pxi"} <= sources
    assert sources <= sdist_names


def test_sdist_carries_no_build_product(sdist_names: set[str]) -> None:
    assert [name for name in sdist_names if re.search(r"^gicv3/.*\.c$|\.so$|\.o$|\.py[co]$|\.html$", name)] == []


def test_sdist_carries_what_its_user_reads_and_runs(sdist_names: set[str]) -> None:
    expected = {"LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "setup.py", "pyproject.toml"}
    expected |= {"tools/python-headers", "tests/conftest.py", "gicv3/guests/smp.bin"}
    assert expected <= sdist_names


def test_wheel_carries_the_core_its_types_and_the_guest(wheel_names: set[str]) -> None:
    assert {"gicv3/py.typed", "gicv3/_core.pyi", "gicv3/_core.pxd", "gicv3/guests/smp.bin"} <= wheel_names
    assert [name for name in wheel_names if re.fullmatch(r"gicv3/_core\..*\.(so|pyd)", name)]


def test_wheel_carries_every_python_module_of_the_tree(wheel_names: set[str]) -> None:
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "gicv3").rglob("*.py")} <= wheel_names


def test_wheel_carries_no_source_or_generated_c(wheel_names: set[str]) -> None:
    assert [name for name in wheel_names if name.endswith((".c", ".pyx", ".pxi", ".html"))] == []
    assert [name for name in wheel_names if not name.startswith(("gicv3/", "gicv3-"))] == []


def test_wheel_works_away_from_the_tree(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import gicv3; "
        "gicv3.GICv3(gicv3.GICv3Config(cpus=2)).check(); print(gicv3.__file__)"
    )
    # -I: neither the working directory nor PYTHONPATH may lend the package.
    assert run("-I", "-c", program, cwd=tmp_path).strip() == str(tmp_path / "gicv3" / "__init__.py")


def test_the_console_command_exists(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "gicv3 = gicv3.cli:main" in archive.read(name).decode()


def test_cython_has_no_warning_and_no_performance_hint(sources: set[str], tmp_path: Path) -> None:
    # Cython exits 0 after a hint whatever the flags say, so the text is what counts.
    for number, source in enumerate(sorted(name for name in sources if name.endswith(".pyx"))):
        printed = run("-m", "cython", "-3", "-X", "warn.unreachable=True", "-o", tmp_path / f"{number}.c", source)
        assert not re.search(r"warning|performance hint", printed, re.IGNORECASE), printed


def test_stubs_agree_with_the_runtime(sources: set[str], tmp_path: Path) -> None:
    modules = [name.removesuffix(".pyx").replace("/", ".") for name in sources if name.endswith(".pyx")]
    # What Cython adds to every module and class is no part of the interface.
    allowed = tmp_path / "allowed"
    allowed.write_text(r".*\.__(reduce_cython|setstate_cython|test|pyx_capi)__" + "\n")
    run("-m", "mypy.stubtest", "--allowlist", allowed, "--ignore-unused-allowlist", *sorted(modules))

"""Compile the measured loops and the floor into one extension, once per version of what they are made from."""

import hashlib
import importlib.util
import os
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

import Cython

import gicv3

HERE = Path(__file__).resolve().parent
PACKAGE = Path(gicv3.__file__).resolve().parent
BUILD = HERE.parent / "build" / "benchmarks"
SOURCES = (HERE / "driver.pyx", HERE / "floor" / "floor.h", HERE / "floor" / "floor.c", PACKAGE / "_core.pxd")
# The floor gets all the compiler can do for this machine. The core is measured as it was built and installed.
FLAGS = tuple(os.environ.get("GICV3_FLOOR_FLAGS", "-O3 -march=native").split())


def compiler() -> str:
    """The C compiler that builds extensions of this Python: $CC first, as setuptools does."""
    return (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]


def load(path: Path) -> ModuleType:
    """Import the extension at `path` as benchmarks.driver."""
    spec = importlib.util.spec_from_file_location("benchmarks.driver", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmarks.driver"] = module
    spec.loader.exec_module(module)
    return module


def compile_driver(target: Path) -> None:
    """Build the extension and put it at `target` in one step, so that a second process never sees half of it."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        extension = Extension(
            "benchmarks.driver",
            [str(HERE / "driver.pyx"), str(HERE / "floor" / "floor.c")],
            include_dirs=[str(HERE / "floor")],
            extra_compile_args=[*FLAGS, "-Wno-sign-compare"],  # Cython compares enums with unsigned loop variables
        )
        # The package under test may be installed elsewhere: its parent is where `cimport gicv3` starts.
        modules = cythonize([extension], build_dir=scratch, include_path=[str(PACKAGE.parent)], quiet=True)
        command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
        command.build_lib = scratch
        command.build_temp = scratch
        command.verbose = 0
        command.ensure_finalized()
        command.run()
        os.replace(command.get_ext_fullpath("benchmarks.driver"), target)


@cache
def driver() -> ModuleType:
    """The compiled benchmarks/driver.pyx, built at the first use into build/benchmarks."""
    key = hashlib.sha256(repr((Cython.__version__, FLAGS)).encode())
    for source in SOURCES:
        key.update(source.read_bytes())
    target = BUILD / f"driver-{key.hexdigest()[:16]}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not target.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        compile_driver(target)
    return load(target)

"""The compiled half of the build: one Cython extension, in three modes chosen by GICV3_BUILD.

release (default)  -O3
coverage           the compiler counts how often each line of the source runs (`make coverage`)
sanitize           AddressSanitizer and UndefinedBehaviorSanitizer (run with libasan preloaded: `make sanitize`)

Everything that is not compiled is declared in pyproject.toml.
"""

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODES = {
    "release": {
        "directives": {"boundscheck": False},
        # Cython compares unsigned counters with enum constants, which are int in C.
        "compile": ["-O3", "-Wno-sign-compare"],
    },
    "coverage": {
        "directives": {"boundscheck": False},
        "compile": ["-O0", "--coverage", "-Wno-sign-compare"],
        "link": ["--coverage"],
    },
    "sanitize": {
        "directives": {"boundscheck": True},
        "compile": ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover"],
        "link": ["-fsanitize=address,undefined"],
    },
}
MODE = os.environ.get("GICV3_BUILD") or "release"
if MODE not in MODES:
    raise SystemExit(f"GICV3_BUILD must be one of {', '.join(MODES)}, got {MODE!r}")


class BuildExt(build_ext):
    """Run Cython when an extension is compiled, and at no other time.

    cythonize() at module level would replace `.pyx` by `.c` in the sources that sdist packs.
    """

    def finalize_options(self):
        super().finalize_options()
        if MODE != "release":
            self.force = True
            self.build_temp += f"-{MODE}"
            if self.inplace:  # or a later release build would find its library up to date, and be this one
                self.build_lib += f"-{MODE}"

    def build_extension(self, ext):
        from Cython.Build import cythonize
        from Cython.Compiler import Options

        mode = MODES[MODE]
        # A warning of a later Cython is ours to mend and must not break a user's build.
        Options.warning_errors = MODE == "release" and "CI" in os.environ
        (compiled,) = cythonize(
            [ext],
            force=self.force,
            build_dir=self.build_temp,
            emit_linenums=MODE == "coverage",
            compiler_directives=mode["directives"],
            show_all_warnings=MODE == "release",
        )
        ext.sources = compiled.sources
        if self.compiler.compiler_type != "msvc":
            ext.extra_compile_args = [*ext.extra_compile_args, *mode["compile"]]
            ext.extra_link_args = [*ext.extra_link_args, *mode.get("link", [])]
        super().build_extension(ext)


def parts(folder):
    """The included parts of an extension, so that an edited part rebuilds it and sdist packs it."""
    return sorted(path.as_posix() for path in Path(folder).glob("*.pxi"))


setup(
    ext_modules=[
        Extension(
            "gicv3._core",
            ["gicv3/_core.pyx"],
            depends=["gicv3/_core.pxd", "gicv3/gicv3.h", *parts("gicv3/core")],
            include_dirs=["gicv3"],
        ),
        Extension(
            "gicv3.unicorn._native",
            ["gicv3/unicorn/_native.pyx"],
            depends=["gicv3/_core.pxd", "gicv3/gicv3.h", *parts("gicv3/unicorn/core")],
            include_dirs=["gicv3"],
        ),
    ],
    cmdclass={"build_ext": BuildExt},
)

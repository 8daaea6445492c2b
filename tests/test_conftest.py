"""What the suite does around its tests: every GIC is checked, and in CI nothing that needs a tool is skipped."""

from pathlib import Path

import pytest
import required

from gicv3 import GICv3

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).with_name("conftest.py")


def run(pytester: pytest.Pytester, program: str, ci: bool = False) -> dict[str, int]:
    """Run a file of tests as this suite would, with a check that no GIC passes; return the outcomes."""
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nmarkers = drops_gics")
    pytester.makepyfile(program)

    def check(gic: GICv3) -> None:
        raise AssertionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GICv3, "check", check)
        patch.setattr(required, "CI", ci)
        return pytester.runpytest_inprocess("-p", "no:cacheprovider").parseoutcomes()


def using(body: str, mark: str = "") -> str:
    """A test that makes GICs."""
    return f"import pytest\nfrom gicv3 import GICv3, GICv3Config as C\n{mark}\ndef test_it():\n    {body}\n"


@pytest.mark.parametrize("body", ["GICv3(C(cpus=1))", "gic = GICv3(C(cpus=1))", "global kept; kept = GICv3(C(cpus=1))"])
def test_a_gic_is_checked_after_its_test_whether_kept_or_dropped(pytester: pytest.Pytester, body: str) -> None:
    assert run(pytester, using(body)) == {"passed": 1, "errors": 1}


def test_the_first_of_many_gics_is_checked_while_the_test_still_runs(pytester: pytest.Pytester) -> None:
    assert run(pytester, using("[GICv3(C(cpus=1)) for _ in range(65)]"))["failed"] == 1


@pytest.mark.drops_gics  # or the GIC of the inner test is held from out here
def test_a_test_may_be_about_gics_that_go(pytester: pytest.Pytester) -> None:
    mark = "@pytest.mark.drops_gics"
    assert run(pytester, using("import gc; GICv3(C(cpus=1)); gc.collect()", mark)) == {"passed": 1}
    assert run(pytester, using("global kept; kept = GICv3(C(cpus=1))", mark)) == {"passed": 1, "errors": 1}


@pytest.mark.parametrize(("ci", "outcome"), [(False, {"skipped": 1}), (True, {"errors": 1})])
def test_a_missing_module_skips_its_file_and_fails_in_ci(
    pytester: pytest.Pytester, ci: bool, outcome: dict[str, int]
) -> None:
    assert run(pytester, "import pytest\npytest.importorskip('no_such_module')", ci) == outcome


@pytest.mark.parametrize(("ci", "outcome"), [(False, {"skipped": 1}), (True, {"failed": 1})])
def test_a_missing_program_skips_its_test_and_fails_in_ci(
    pytester: pytest.Pytester, ci: bool, outcome: dict[str, int]
) -> None:
    assert run(pytester, "import required\ndef test_it():\n    required.tool('no-such-tool')", ci) == outcome

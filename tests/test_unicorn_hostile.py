"""`UnicornMachine`: guests of random code cannot kill or hang the host, and do the same each time."""

import pytest

pytest.importorskip("unicorn", exc_type=ImportError)

from unicorn_hostile import run

pytestmark = pytest.mark.guest


@pytest.mark.parametrize("seed", range(10))
def test_a_guest_of_random_code_only_uses_its_time(seed: int) -> None:
    executed = run(seed)
    assert 0 < executed <= 2 * 30_000
    assert run(seed) == executed

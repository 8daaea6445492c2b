"""A guest that builds the tables of an ITS, maps devices and takes LPIs on its vCPUs: see tests/guests/its."""

import subprocess
from pathlib import Path

import pytest
import required

pytest.importorskip("unicorn", exc_type=ImportError)

from gicv3.guests import LOAD_ADDRESS
from gicv3.machine import VirtMachine
from gicv3.unicorn import Stop, UnicornMachine

pytestmark = pytest.mark.guest

PARTS = ("int", "translater", "movi", "disabled", "movall", "mapc", "clear", "tables")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return required.guest("its", tmp_path_factory.mktemp("guest"))


def said(cpus: int) -> str:
    return "".join(line + "\n" for line in (f"cpus {cpus}", *(f"{part} ok" for part in PARTS), "end"))


@pytest.mark.parametrize("cpus", [1, 2, 4, 8])
def test_every_lpi_arrives_once_where_it_is_mapped(image: Path, cpus: int) -> None:
    output = bytearray()
    machine = VirtMachine(cpus=cpus, its=True)
    with UnicornMachine(machine, image=image, load_address=LOAD_ADDRESS, output=output.extend) as engine:
        assert engine.run(200_000_000) is Stop.OFF
    assert output.decode() == said(cpus)
    gic = machine.gic
    taken = [gic.counters(pe)["lpi"] for pe in range(cpus)]
    assert sum(taken) == 8 * 32 + 8 + 3 * 32 + 2
    assert min(taken) >= 32
    assert [error.code for error in gic.its[0].errors()] == [0x01_0307]  # it raises an event that it has discarded
    assert [gic.lpi_pending(pe) for pe in range(cpus)] == [[]] * cpus


def test_without_an_its_it_says_so(image: Path) -> None:
    output = bytearray()
    with UnicornMachine(
        VirtMachine(cpus=1), image=image, load_address=LOAD_ADDRESS, output=output.extend
    ) as engine:
        assert engine.run(10_000_000) is Stop.OFF
    assert output == b"no LPIs\n"


@pytest.mark.oracle
@pytest.mark.parametrize("cpus", [1, 4])
def test_qemu_says_the_same(image: Path, cpus: int) -> None:
    done = subprocess.run(
        [
            required.tool("qemu-system-aarch64"), "-M", "virt,gic-version=3", "-cpu", "cortex-a57", "-accel",
            "tcg,thread=single", "-smp", str(cpus), "-m", "128", "-display", "none", "-nodefaults", "-serial", "stdio",
            "-device", f"loader,file={image},addr={LOAD_ADDRESS:#x},cpu-num=0",
        ],
        stdin=subprocess.DEVNULL, capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout.decode() == said(cpus)

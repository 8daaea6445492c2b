"""The C API as its users meet it: a Cython module, a plain C shared object, and ctypes alone."""

import ctypes
import importlib.util
import re
import runpy
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from ctypes import byref, c_uint32, c_uint64
from pathlib import Path
from typing import Any

import pytest
from rig import Rig

import gicv3
from gicv3 import GICv3, GICv3Config, capi
from tests.itses import FIRST, ItsRig, movi
from tests.lpis import RAM

HERE = Path(__file__).parent / "downstream"
API = capi.functions()
LEVEL_PPI, EDGE_PPI = 20, 21


class Log(ctypes.Structure):
    """`struct log` of plain.c."""

    _fields_ = (("gic", ctypes.c_void_p), ("count", c_uint32), ("answer", c_uint32), ("entry", c_uint32 * 2 * 64))

    @property
    def entries(self) -> list[tuple[int, int]]:
        return [(pe, lines) for pe, lines in self.entry[: self.count]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """plain.c, compiled against the header that is shipped."""
    target = tmp_path_factory.mktemp("plain") / "plain.so"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2"]
    command = [compiler, *flags, "-shared", "-fPIC", f"-I{gicv3.get_include()}"]
    subprocess.run([*command, str(HERE / "plain.c"), "-o", str(target)], check=True)
    library = ctypes.CDLL(str(target))
    library.plain_create.restype = ctypes.c_void_p
    library.plain_release.argtypes = [ctypes.c_void_p]
    assert library.plain_use(c_uint64(capi.address()))
    return library


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """user.pyx, compiled as an embedder's project would."""
    folder = tmp_path_factory.mktemp("user")
    program = f"""
from Cython.Build import cythonize
from setuptools import Distribution, Extension
modules = cythonize([Extension("user", [{str(HERE / "user.pyx")!r}])], build_dir={str(folder)!r},
                    include_path=[{str(Path(gicv3.__file__).parent.parent)!r}], quiet=True)
command = Distribution({{"ext_modules": modules}}).get_command_obj("build_ext")
command.build_lib = command.build_temp = {str(folder)!r}
command.ensure_finalized()
command.run()
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=folder, capture_output=True)
    path = folder / f"user{sysconfig.get_config_var('EXT_SUFFIX')}"
    spec = importlib.util.spec_from_file_location("user", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ready(cpus: int = 1) -> GICv3:
    """PPI 20 (level) and PPI 21 (edge) reach every PE as IRQs."""
    rig = Rig(cpus)
    for pe in range(cpus):
        rig.prepare(LEVEL_PPI, pe, edge=False)
        rig.prepare(EDGE_PPI, pe, edge=True)
    rig.gic.changed()
    return rig.gic


def handle(gic: GICv3) -> ctypes.c_void_p:
    return ctypes.c_void_p(gic.handle)


# --- Cython


def test_a_downstream_module_takes_interrupts_without_python(user: Any) -> None:
    cpu = user.Cpu(ready(), 0)
    cpu.pulse(EDGE_PPI)
    assert cpu.take(4) == [EDGE_PPI]
    assert cpu.take(4) == []


def test_a_cython_callback_hears_each_change_once_and_none_after_it_is_taken_away(user: Any) -> None:
    cpu = user.Cpu(ready(), 0)
    cpu.listen()
    cpu.pulse(EDGE_PPI)
    assert cpu.told == (1, 1)
    cpu.take(1)
    assert cpu.told == (0, 2)
    cpu.deaf()
    cpu.pulse(EDGE_PPI)
    assert cpu.told == (0, 2)


def test_changed_takes_at_most_the_room_given_and_keeps_the_rest_in_order(user: Any) -> None:
    gic = ready(3)
    cpu = user.Cpu(gic, 0)
    for pe in (2, 0, 1):
        gic.set_ppi(pe, LEVEL_PPI, True)
    assert cpu.changed(0) == []
    assert cpu.changed(2) == [2, 0]
    gic.set_ppi(2, LEVEL_PPI, False)
    assert gic.changed() == [1, 2]
    assert cpu.changed(2) == []


@pytest.mark.parametrize(("config", "el", "secure", "exists"), [
    ({}, 1, False, True), ({}, 2, False, False), ({}, 3, False, False), ({}, 1, True, False), ({}, 4, False, False),
    ({"el2": True}, 2, False, True), ({"security": True}, 3, True, True), ({"security": True}, 0, True, True),
    ({"el2": True, "security": True}, 2, True, False), ({"el2": True, "security": True}, 1, True, True),
])
def test_set_context_refuses_a_state_that_the_pe_has_not(
    user: Any, config: dict[str, Any], el: int, secure: bool, exists: bool
) -> None:
    gic = GICv3(GICv3Config(cpus=1, **config))
    before = gic.state_digest()
    assert user.Cpu(gic, 0).context(el, secure) == (exists, exists and secure)
    assert exists or gic.state_digest() == before


def test_what_is_out_of_range_is_ignored_and_reads_zero(user: Any) -> None:
    gic = ready(2)
    before = gic.state_digest()
    assert user.Cpu(gic, 0).out_of_range() == (0, 0, 0, 1, 0, -1, False, False)
    assert gic.state_digest() == before


# --- plain C


def test_the_ctypes_mirror_has_the_layout_of_the_header(plain: ctypes.CDLL) -> None:
    header = (Path(capi.get_include()) / "gicv3.h").read_text()
    struct = header[header.index("typedef struct gicv3_api {") : header.index("} gicv3_api;")]
    names = re.findall(r"\(\*(\w+)\)\(|uint32_t (\w+);", re.sub(r"/\*.*?\*/", "", struct, flags=re.DOTALL))
    assert [first or second for first, second in names] == [name for name, _ in capi.Api._fields_]
    assert plain.plain_size() == ctypes.sizeof(capi.Api) == API.size
    assert plain.plain_context_size() == ctypes.sizeof(capi.Context)
    assert f"#define GICV3_API_VERSION {API.version} " in header
    assert API.version == capi.VERSION


def test_every_function_has_an_address_of_its_own() -> None:
    addresses = capi.addresses()
    assert list(addresses) == [name for name, _ in capi.Api._fields_[2:]]
    assert len(set(addresses.values())) == len(addresses)


def test_the_capsule_and_the_address_are_the_same_struct() -> None:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype = ctypes.c_void_p
    assert get(ctypes.py_object(gicv3._core.api), b"gicv3._core.api") == capi.address()


@pytest.fixture
def its(plain: ctypes.CDLL) -> Iterator[ItsRig]:
    """A GIC with an ITS, its memory mapped by C."""
    rig = ItsRig(2, events=2)
    rig.gic.memory.unmap(RAM)
    memory = (ctypes.c_uint8 * len(rig.ram)).from_buffer(rig.ram)
    assert plain.plain_map(handle(rig.gic), c_uint64(RAM), memory, c_uint64(len(rig.ram)), 1) == 1
    yield rig
    plain.plain_unmap(handle(rig.gic), c_uint64(RAM))


def test_plain_c_sends_msis_and_takes_them(plain: ctypes.CDLL, its: ItsRig) -> None:
    log, last = Log(), c_uint64()
    plain.plain_listen(handle(its.gic), byref(log))
    plain.plain_msi(handle(its.gic), 0, 1, 1)
    assert log.entries == [(0, 1)]
    assert plain.plain_take(handle(its.gic), 0, byref(last)) == 1
    assert last.value == FIRST + 1
    its.do(movi(1, 1, 1))  # the tables that C mapped
    plain.plain_msi(handle(its.gic), 0, 1, 1)
    assert its.take_all(1) == [FIRST + 1]
    assert its.its.counters()["msis"] == 2


def test_msis_of_c_that_lead_nowhere_are_counted_or_ignored(plain: ctypes.CDLL, its: ItsRig) -> None:
    before = its.gic.save()
    plain.plain_msi(handle(its.gic), 0, 1, 2)
    plain.plain_msi(handle(its.gic), 1, 1, 0)
    plain.plain_msi(handle(Rig().gic), 0, 1, 0)
    assert its.its.counters()["unmapped"] == its.its.counters()["msis"] == 1
    assert its.gic.save() == before


def test_memory_of_c_may_be_read_only_and_is_gone_when_it_is_unmapped(plain: ctypes.CDLL, its: ItsRig) -> None:
    plain.plain_unmap(handle(its.gic), c_uint64(RAM + 1))
    memory = (ctypes.c_uint8 * len(its.ram)).from_buffer(its.ram)
    plain.plain_unmap(handle(its.gic), c_uint64(RAM))
    its.msi(0)
    assert its.its.counters()["unmapped"] == 1
    assert plain.plain_map(handle(its.gic), c_uint64(RAM), memory, c_uint64(len(its.ram)), 0) == 1
    its.msi(0)
    assert its.lpis() == [FIRST]
    assert its.fails(movi(1, 0, 1)) == 0x010105  # its entry cannot be written


def test_memory_that_cannot_be_mapped_from_c_is_refused(plain: ctypes.CDLL, its: ItsRig) -> None:
    some = (ctypes.c_uint8 * 4096)()
    end = 1 << 52

    def fits(address: int, size: int, data: Any = some) -> bool:
        fitted = plain.plain_map(handle(its.gic), c_uint64(address), data, c_uint64(size), 1) == 1
        plain.plain_unmap(handle(its.gic), c_uint64(address if address != RAM else 0))
        return fitted

    assert fits(end - 4096, 4096)
    assert not fits(end - 4096, 4097)
    assert not fits(end, 1)
    assert not fits(0, 0)
    assert not fits(0, (1 << 64) - 1)
    assert not fits(0, 16, None)
    assert fits(RAM - 16, 16)
    assert not fits(RAM - 16, 17)
    assert not fits(RAM + len(its.ram) - 1, 16)
    mapped = sum(plain.plain_map(handle(its.gic), c_uint64(n * 4096), some, c_uint64(16), 1) for n in range(70))
    assert mapped == 63  # with the one that is there


def test_plain_c_takes_interrupts_of_its_callback(plain: ctypes.CDLL) -> None:
    gic = ready(2)
    log = Log()
    plain.plain_listen(handle(gic), byref(log))
    plain.plain_raise(handle(gic), 1, LEVEL_PPI, 1)
    assert log.entries == [(1, 1)]
    plain.plain_raise(handle(gic), 1, LEVEL_PPI, 0)
    plain.plain_raise(handle(gic), 0, EDGE_PPI, 1)
    last = c_uint64()
    assert plain.plain_take(handle(gic), 0, byref(last)) == 1
    assert last.value == EDGE_PPI
    assert log.entries == [(1, 1), (1, 0), (0, 1), (0, 0)]
    plain.plain_ignore(handle(gic))
    plain.plain_raise(handle(gic), 1, LEVEL_PPI, 1)
    assert log.count == 4


def test_a_callback_may_call_back_in_and_is_told_of_what_it_did(plain: ctypes.CDLL) -> None:
    gic = ready()
    log = Log(answer=LEVEL_PPI)
    plain.plain_listen(handle(gic), byref(log))
    plain.plain_raise(handle(gic), 0, LEVEL_PPI, 1)
    assert log.entries == [(0, 1), (0, 0)]
    assert not gic.pe[0].irq
    plain.plain_ignore(handle(gic))


def test_more_changes_than_fit_the_stack_are_all_told_in_order(plain: ctypes.CDLL) -> None:
    cpus = 40
    gic = ready(cpus)
    log = Log()
    gic.dist["GICD_CTLR"] = 0
    for pe in range(cpus):
        gic.set_ppi(pe, LEVEL_PPI, True)
    plain.plain_listen(handle(gic), byref(log))
    gic.dist["GICD_CTLR"] = 3
    assert log.entries == [(pe, 1) for pe in range(cpus)]
    plain.plain_ignore(handle(gic))


@pytest.mark.parametrize("successor", [False, True])
def test_a_callback_that_is_taken_away_inside_itself_is_told_no_more(successor: bool) -> None:
    cpus = 40
    gic = ready(cpus)
    told: list[str] = []

    @capi.Lines
    def second(opaque: int, pe: int, lines: int) -> None:
        told.append(f"second {opaque} {pe} {lines}")

    @capi.Lines
    def first(opaque: int, pe: int, lines: int) -> None:
        told.append(f"first {opaque} {pe} {lines}")
        if pe == 20:
            API.on_lines(gic.handle, second if successor else capi.Lines(), 8)

    gic.dist["GICD_CTLR"] = 0
    for pe in range(cpus):
        gic.set_ppi(pe, LEVEL_PPI, True)
    API.on_lines(gic.handle, first, 7)
    gic.dist["GICD_CTLR"] = 3
    assert told == [f"first 7 {pe} 1" for pe in range(21)]
    told.clear()
    gic.set_ppi(39, LEVEL_PPI, False)
    assert told == (["second 8 39 0"] if successor else [])
    API.on_lines(gic.handle, capi.Lines(), None)


def test_a_callback_with_another_opaque_is_another_one() -> None:
    gic = ready(2)
    told: list[tuple[int, int]] = []

    @capi.Lines
    def tell(opaque: int, pe: int, lines: int) -> None:
        told.append((opaque, pe))
        API.on_lines(gic.handle, tell, 8)

    gic.dist["GICD_CTLR"] = 0
    for pe in range(2):
        gic.set_ppi(pe, LEVEL_PPI, True)
    API.on_lines(gic.handle, tell, 7)
    gic.dist["GICD_CTLR"] = 3
    gic.dist["GICD_CTLR"] = 0
    assert told == [(7, 0), (8, 0), (8, 1)]
    API.on_lines(gic.handle, capi.Lines(), None)


def test_the_c_callback_and_on_line_both_hear_whoever_acts(plain: ctypes.CDLL) -> None:
    gic = ready()
    log = Log()
    told: list[tuple[int, int, bool, int]] = []
    gic.on_line = lambda pe, line, level: told.append((pe, line, level, log.count))
    plain.plain_listen(handle(gic), byref(log))
    plain.plain_raise(handle(gic), 0, LEVEL_PPI, 1)
    gic.set_ppi(0, LEVEL_PPI, False)
    assert log.entries == [(0, 1), (0, 0)]
    assert told == [(0, 1, True, 1), (0, 1, False, 2)]
    gic.on_line = None
    gic.set_ppi(0, LEVEL_PPI, True)
    assert log.count == 3
    plain.plain_ignore(handle(gic))


def test_what_on_line_raises_below_a_c_call_goes_to_the_unraisable_hook(
    plain: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> None:
    gic = ready()
    caught: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: caught.append(str(args.exc_value)))

    def fail(pe: int, line: int, level: bool) -> None:
        raise RuntimeError("no")

    gic.on_line = fail
    plain.plain_raise(handle(gic), 0, LEVEL_PPI, 1)
    gic.on_line = None
    assert caught == ["no"]
    assert gic.pe[0].irq


def test_threads_in_c_lose_no_change_of_lines(plain: ctypes.CDLL) -> None:
    cpus = 4
    gic = ready(cpus)
    log = Log()
    plain.plain_listen(handle(gic), byref(log))
    rounds = 500

    def work(pe: int) -> None:
        for _ in range(rounds):
            plain.plain_raise(handle(gic), pe, LEVEL_PPI, 1)
            plain.plain_raise(handle(gic), pe, LEVEL_PPI, 0)
        plain.plain_raise(handle(gic), pe, LEVEL_PPI, 1)

    threads = [threading.Thread(target=work, args=(pe,)) for pe in range(cpus)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.count <= cpus * (2 * rounds + 1)
    last: list[int] = []
    plain.plain_listen(handle(gic), byref(log := Log()))
    for pe in range(cpus):
        plain.plain_raise(handle(gic), pe, LEVEL_PPI, 0)
    last = [pe for pe, lines in log.entries if lines == 0]
    assert last == list(range(cpus))
    plain.plain_ignore(handle(gic))


def test_create_gives_a_gic_that_lives_until_it_is_released(plain: ctypes.CDLL) -> None:
    gic = plain.plain_create(b'{"cpus": 3, "security": true, "redist_regions": [[134873088, 3]]}', None, 0)
    assert API.num_pe(gic) == 3
    assert API.mmio_read(gic, 0x0800_0000, 4, 1) == 0x30
    owner = ctypes.cast(gic, ctypes.py_object).value
    assert isinstance(owner, GICv3)
    before = sys.getrefcount(owner)
    API.retain(gic)
    assert sys.getrefcount(owner) == before + 1
    API.release(gic)
    plain.plain_release(gic)
    assert sys.getrefcount(owner) == before - 1


@pytest.mark.parametrize(("config", "text"), [
    (b'{"cpus": 0}', "ConfigError: cpus must be in 1..65536, got 0"),
    (b'{"cpu": 1}', "ConfigError: config has fields that GICv3Config has not: cpu"),
    (b"[]", "ConfigError: config must be a JSON object, got b'[]'"),
    (b"{", "ConfigError: config must be a JSON object, got b'{'"),
    (b'{"cpus": 1.5}', "TypeError"),
    (b"\xff", "ConfigError: config must be a JSON object"),
    (b"[" * 100_000, "ConfigError: config must be a JSON object, got b'[[["),
    (b'{"cpus": ' + b"[" * 800 + b"]" * 800 + b"}", "TypeError: cpus must be an integer, got [[["),
])
def test_create_says_what_is_wrong(plain: ctypes.CDLL, config: bytes, text: str) -> None:
    error = ctypes.create_string_buffer(200)
    assert plain.plain_create(config, error, 200) is None
    assert error.value.decode().startswith(text)


@pytest.mark.parametrize("room", [0, 1, 2, 12])
def test_create_writes_no_more_text_than_there_is_room_for(plain: ctypes.CDLL, room: int) -> None:
    error = ctypes.create_string_buffer(b"#" * 20, 20)
    assert plain.plain_create(b'{"cpus": 0}', error, room) is None
    expected = b"ConfigError:"[: room - 1] + b"\0" if room else b""
    assert error.raw == expected + b"#" * (20 - len(expected))


# --- ctypes alone


def test_ctypes_reads_and_writes_registers_by_address_frame_and_encoding() -> None:
    gic = ready(2)
    assert API.mmio_read(gic.handle, 0x0800_0004, 4, 0) == gic.mmio_read(0x0800_0004, 4)
    API.mmio_write(gic.handle, 0x0800_0104, 1 << 8, 4, 0)
    assert gic.dist["GICD_ISENABLER", 1] == 1 << 8
    API.frame_write(gic.handle, 2, 1, 0x410, 0x50, 1, 0)
    assert API.frame_read(gic.handle, 2, 1, 0x410, 1, 0) == gic.redist[1]["GICR_IPRIORITYR", 4] & 0xFF == 0x50
    value = c_uint64()
    assert API.sysreg_write(gic.handle, 1, gicv3.SysReg.ICC_PMR_EL1, 0x80) == 0
    assert API.sysreg_read(gic.handle, 1, gicv3.SysReg.ICC_PMR_EL1, byref(value)) == 0
    assert value.value == gic.pe[1]["ICC_PMR_EL1"] == 0x80
    assert API.sysreg_read(gic.handle, 1, 0, byref(value)) == 1
    assert value.value == 0


def test_ctypes_drives_wires_contexts_and_plugs() -> None:
    gic = ready(2)
    room = (c_uint32 * 4)()
    API.pulse_ppi(gic.handle, 1, EDGE_PPI)
    assert API.lines(gic.handle, 1) == 1
    assert (API.changed(gic.handle, room, 4), room[0]) == (1, 1)
    API.set_accessible(gic.handle, 1, 0)
    assert API.lines(gic.handle, 1) == 0
    assert not gic.is_accessible(1)
    API.set_spi(gic.handle, 40, 1)
    assert gic.spi_line(40)
    API.pulse_spi(gic.handle, 40)
    assert not gic.spi_line(40)
    assert API.proc_num(gic.handle, gic.affinity(1)) == 1
    assert API.set_context(gic.handle, 0, byref(capi.Context(el=0, scr_el3=1))) == 1
    assert API.sysreg_read(gic.handle, 0, gicv3.SysReg.ICC_PMR_EL1, byref(c_uint64())) == 1
    assert API.set_context(gic.handle, 0, byref(capi.Context(el=3))) == 0


def test_step_lets_time_pass() -> None:
    gic = GICv3(GICv3Config(cpus=1, settle_steps=2))
    gic.redist[0]["GICR_WAKER"] = 0
    API.step(gic.handle, 1)
    assert gic.redist[0]["GICR_WAKER"] == 4
    API.step(gic.handle, 1)
    assert gic.redist[0]["GICR_WAKER"] == 0


def test_the_example_for_c_and_ctypes_reads_what_it_writes(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(HERE.parent.parent / "examples" / "mmio_from_c.py"))["main"](10)
    assert re.fullmatch(r"10 reads and 10 writes from C: [\d.]+ ns a read, [\d.]+ ns a write; from ctypes: [\d.]+ ns\n",
                        capsys.readouterr().out)


def test_the_cython_of_the_documentation_compiles(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    (block,) = re.findall(r"```cython\n(.*?)```", (root / "docs" / "c-api.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "block.pyx").write_text(block)
    command = [sys.executable, "-m", "cython", "-3", "-I", str(root), "-o", "block.c", "block.pyx"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

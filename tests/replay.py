"""Random programs of the model, played on GICs: what a GIC was made by, and whether two of them have one future."""

from model.builder import Op, fill_writes
from model.configs import CONFIGS, COST
from model.runner import ModelRun, build_program

from gicv3 import Frame, GICv3, GICv3Config

FRAMES = {"GICD": Frame.GICD, "RD": Frame.RD, "SGI": Frame.SGI, "GICM": Frame.GICM}
# LPIs have tests of their own; one GIC of the largest size is enough.
ALL = {name: keywords for name, keywords in CONFIGS.items() if not keywords.get("lpis") and name not in COST}
ALL["largest-ds0"] = CONFIGS["largest-ds0"]


def trace(name: str, seed: int, length: int = 300) -> list[Op]:
    """The plain operations of a random program."""
    run, ops = ModelRun(ALL[name]), list[Op]()
    for op in build_program(ALL[name], seed, length):
        run.step(op)
    for op in run.trace:
        writes = fill_writes(run.model.config, *op.args) if op.call == "fill" else None
        ops += [op] if writes is None else [Op("frame_write", write) for write in writes]
    return ops


def act(gic: GICv3, op: Op) -> object:
    arguments = (FRAMES[op.args[0]], *op.args[1:]) if op.call.startswith("frame") else op.args
    return getattr(gic, op.call)(*arguments), bytes(gic.lines)


def made(name: str, ops: list[Op]) -> GICv3:
    gic = GICv3(GICv3Config(**ALL[name]))
    for op in ops:
        act(gic, op)
    return gic


def assert_same_future(ours: GICv3, theirs: GICv3, ops: list[Op]) -> None:
    for op in ops:
        assert act(ours, op) == act(theirs, op), op.code()
    assert ours.save() == theirs.save()
    assert ours.state_digest() == theirs.state_digest()

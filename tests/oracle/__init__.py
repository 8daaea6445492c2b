"""QEMU as an oracle: random programs run on QEMU and on `gicv3.GICv3`, compared operation by operation."""

"""Run an SMP guest on Unicorn, plug a vCPU into it, and type to it."""

from gicv3 import guests
from gicv3.machine import VirtMachine
from gicv3.unicorn import Stop, UnicornMachine


def main() -> None:
    """Boot 2 of 4 vCPUs, plug a third, type, and switch the guest off."""
    machine = VirtMachine(cpus=2, max_cpus=4)
    output = bytearray()
    with UnicornMachine(machine, image=guests.smp_image(), output=output.extend) as engine:
        mailbox = engine.memory[guests.MAILBOX_ADDRESS - engine.ram_base :]
        engine.run(100_000)

        machine.device_add(id="third", core_id=2)
        # The guest looks for new vCPUs when INTID 41 rings.
        machine.gic.pulse_spi(guests.SPI_DOORBELL)
        engine.run(100_000)
        engine.uart.receive(b"hello\r\n")
        engine.run(100_000)

        for slot in machine.possible_cpus:
            record = guests.parse_record(mailbox, slot.index)
            state = "absent" if slot.cpu is None else guests.CpuState(record.state).name.lower()
            print(f"vCPU {slot.index}, affinity {slot.arch_id:#x}: {state}, {record.total} interrupts")

        mailbox[guests.QUIT_OFFSET] = 1
        machine.gic.pulse_spi(guests.SPI_DOORBELL)
        if engine.run(100_000) is Stop.OFF:
            print(f"the guest said {output.decode()!r}")


if __name__ == "__main__":
    main()

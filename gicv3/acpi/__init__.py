"""ACPI as a guest sees it: registers that announce and eject vCPUs, the tables, and booting Linux by them."""

#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the flat image: build.sh OUTPUT. The GIC driver is the SMP guest's.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
smp=$here/../smp
cross=${CROSS_COMPILE:-aarch64-linux-gnu-}
elf=$(mktemp)
trap 'rm -f "$elf"' EXIT
"${cross}gcc" -std=gnu11 -O2 -march=armv8-a -mgeneral-regs-only -mstrict-align -mcmodel=small \
    -ffreestanding -fno-builtin -fno-tree-loop-distribute-patterns -fno-PIC -fno-pie -fno-stack-protector \
    -fno-asynchronous-unwind-tables -fno-unwind-tables -mbranch-protection=none -mno-outline-atomics \
    -Wall -Wextra -Werror -nostdlib -static -no-pie -I"$smp" \
    -Wl,--build-id=none -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments -Wl,-T,"$here/link.ld" \
    -o "$elf" "$here/start.S" "$here/user.S" "$smp/gic.c" "$here/mmu.c" "$here/main.c"
"${cross}objcopy" -O binary "$elf" "$1"

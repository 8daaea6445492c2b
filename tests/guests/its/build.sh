#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the flat image: build.sh OUTPUT. Boot, vectors and the GIC driver are the SMP guest's.
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
    -Wl,--build-id=none -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments -Wl,-T,"$smp/link.ld" \
    -o "$elf" "$smp/start.S" "$smp/gic.c" "$here/its.c" "$here/main.c"
"${cross}objcopy" -O binary "$elf" "$1"

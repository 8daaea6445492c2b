#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the flat image: build.sh [output]. The same compiler gives the same bytes wherever and whenever it runs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
output=${1:-$here/../../../gicv3/guests/smp.bin}
cross=${CROSS_COMPILE:-aarch64-linux-gnu-}
elf=$(mktemp)
trap 'rm -f "$elf"' EXIT
# MMU off makes all memory Device: no unaligned accesses (-mstrict-align), no exclusives (no atomics in the source).
"${cross}gcc" -std=gnu11 -O2 -march=armv8-a -mgeneral-regs-only -mstrict-align -mcmodel=small \
    -ffreestanding -fno-builtin -fno-tree-loop-distribute-patterns -fno-PIC -fno-pie -fno-stack-protector \
    -fno-asynchronous-unwind-tables -fno-unwind-tables -mbranch-protection=none -mno-outline-atomics \
    -Wall -Wextra -Werror -nostdlib -static -no-pie \
    -Wl,--build-id=none -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments -Wl,-T,"$here/link.ld" \
    -o "$elf" "$here/start.S" "$here/gic.c" "$here/main.c"
"${cross}objcopy" -O binary "$elf" "$output"
chmod 644 "$output"

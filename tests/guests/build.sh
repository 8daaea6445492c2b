#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the flat image of a guest: build.sh GUEST [OUTPUT]. The same compiler gives the same bytes wherever it runs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
own=$here/$1
smp=$here/smp
script=$smp/link.ld
case $1 in
smp) set -- "${2:-$here/../../gicv3/guests/smp.bin}" "$smp/main.c" ;;
acpi) set -- "$2" "$own/madt.c" "$own/main.c" ;;
its) set -- "$2" "$own/its.c" "$own/main.c" ;;
user) set -- "$2" "$own/user.S" "$own/mmu.c" "$own/main.c"; script=$own/link.ld ;;
*) echo "build.sh: no guest $1" >&2; exit 1 ;;
esac
start=$(dirname "$script")/start.S
output=$1
shift
cross=${CROSS_COMPILE:-aarch64-linux-gnu-}
elf=$(mktemp)
trap 'rm -f "$elf"' EXIT
# MMU off makes all memory Device: no unaligned accesses (-mstrict-align), no exclusives (no atomics in the source).
"${cross}gcc" -std=gnu11 -O2 -march=armv8-a -mgeneral-regs-only -mstrict-align -mcmodel=small \
    -ffreestanding -fno-builtin -fno-tree-loop-distribute-patterns -fno-PIC -fno-pie -fno-stack-protector \
    -fno-asynchronous-unwind-tables -fno-unwind-tables -mbranch-protection=none -mno-outline-atomics \
    -Wall -Wextra -Werror -nostdlib -static -no-pie -I"$smp" \
    -Wl,--build-id=none -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments -Wl,-T,"$script" \
    -o "$elf" "$start" "$smp/gic.c" "$@"
"${cross}objcopy" -O binary "$elf" "$output"
chmod 644 "$output"

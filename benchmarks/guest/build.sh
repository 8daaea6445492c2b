#!/bin/sh
# Builds the flat image: build.sh [output]. The same compiler gives the same bytes wherever and whenever it runs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
output=${1:-$here/bench.bin}
cross=${CROSS_COMPILE:-aarch64-linux-gnu-}
elf=$(mktemp)
trap 'rm -f "$elf"' EXIT
"${cross}gcc" -std=gnu11 -O2 -march=armv8-a -mgeneral-regs-only -mstrict-align -ffixed-x27 -ffixed-x28 \
    -ffreestanding -fno-builtin -fno-PIC -fno-pie -fno-stack-protector -fno-asynchronous-unwind-tables \
    -mbranch-protection=none -mno-outline-atomics -Wall -Wextra -Werror -nostdlib -static -no-pie \
    -Wl,--build-id=none -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments -Wl,-T,"$here/link.ld" \
    -o "$elf" "$here/start.S" "$here/bench.c"
"${cross}objcopy" -O binary -j .text "$elf" "$output"
chmod 644 "$output"

#!/bin/sh
# Builds the agent: build.sh [OUTPUT]. Assembler and linker only, so the image does not depend on a compiler's version.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
output=${1:-$here/agent.bin}
prefix=${CROSS_COMPILE:-aarch64-linux-gnu-}
elf=$(mktemp)
trap 'rm -f "$elf"' EXIT
"${prefix}gcc" -nostdlib -nostartfiles -static -Wl,--build-id=none -Wl,-T,"$here/agent.ld" -o "$elf" "$here/agent.S"
"${prefix}objcopy" -O binary "$elf" "$output"

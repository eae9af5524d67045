#!/usr/bin/env bash
# Rewrites tests/golden/expected from what the golden tests print now, then shows what changed. Look before committing.
# Usage: tests/golden/approve.sh [BUILD_DIR]   (default build/dev)
set -eu
top=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
build=${1:-$top/build/dev}
cmake --build "$build"
WEIR_APPROVE=1 ctest --test-dir "$build" -L golden --output-on-failure
git -C "$top" status --short tests/golden/expected
git -C "$top" --no-pager diff --stat -- tests/golden/expected

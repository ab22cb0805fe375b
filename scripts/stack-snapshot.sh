#!/usr/bin/env bash
# `cargo xtask snapshot` for the repository that calls it, with the flags of the script of this name: see docs/migrate.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
own=$(cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/.." && pwd)
for tool in ${STACK_RECOVERY:+"$STACK_RECOVERY"} "$own" "$here/tools/stack-recovery"; do
    if [[ -x $tool/scripts/hand-over ]]; then exec "$tool/scripts/hand-over" snapshot "$here" "$@"; fi
done
echo "stack-snapshot.sh: where is stack-recovery? Name its checkout in STACK_RECOVERY, or put it at $here/tools/stack-recovery" >&2
exit 3

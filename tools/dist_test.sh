#!/usr/bin/env bash
# Evaluates with several processes, one a GPU; without a GPU they share the CPU.
#   tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [arguments of tools/test.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment, as torchrun names them.
set -euo pipefail

if [ $# -lt 3 ]; then
  echo "usage: $0 CONFIG CHECKPOINT PROCESSES [arguments of tools/test.py]" >&2
  exit 2
fi
here=$(dirname "$0")
. "$here/torchrun.sh"
torchrun_here "$3" "$here/test.py" "$1" "$2" --launcher pytorch "${@:4}"

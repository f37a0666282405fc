#!/usr/bin/env bash
# Trains with several processes, one a GPU; without a GPU they share the CPU.
#   tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment, as torchrun names them.
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: $0 CONFIG PROCESSES [arguments of tools/train.py]" >&2
  exit 2
fi
here=$(dirname "$0")
. "$here/torchrun.sh"
torchrun_here "$2" "$here/train.py" "$1" --launcher pytorch "${@:3}"

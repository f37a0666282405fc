#!/usr/bin/env bash
# Evaluates under Slurm.
#   tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]
# In the environment: GPUS (in all, 8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS.
set -euo pipefail

if [ $# -lt 4 ]; then
  echo "usage: $0 PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]" >&2
  exit 2
fi
here=$(dirname "$0")
. "$here/srun.sh"
srun_here "$1" "$2" "$here/test.py" "$3" "$4" --launcher slurm "${@:5}"

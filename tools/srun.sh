# Read by slurm_train.sh and slurm_test.sh: starts a tool under srun, one task a GPU.
#   srun_here PARTITION JOB_NAME TOOL [arguments of the tool]
# PYTHON names the interpreter.
srun_here() {
  local gpus="${GPUS:-8}" per_node="${GPUS_PER_NODE:-8}"
  if [ "$gpus" -lt "$per_node" ]; then
    per_node=$gpus
  fi
  # SRUN_ARGS holds several arguments: it is split on purpose.
  # shellcheck disable=SC2086
  PYTHONPATH="$(dirname "$3")/..${PYTHONPATH:+:$PYTHONPATH}" \
    srun --partition="$1" --job-name="$2" --gres=gpu:"$per_node" --ntasks="$gpus" \
    --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} "${PYTHON:-python}" -u "${@:3}"
}

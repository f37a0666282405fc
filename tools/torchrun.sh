# Read by dist_train.sh and dist_test.sh: starts a tool under torchrun.
#   torchrun_here PROCESSES TOOL [arguments of the tool]
# PYTHON names the interpreter. On one machine a free port is found, so that two runs do not collide.
torchrun_here() {
  local where=(--standalone)
  if [ "${NNODES:-1}" != 1 ] || [ -n "${PORT:-}" ]; then
    where=(
      --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}"
      --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}"
    )
  fi
  PYTHONPATH="$(dirname "$2")/..${PYTHONPATH:+:$PYTHONPATH}" \
    "${PYTHON:-python}" -m torch.distributed.run "${where[@]}" --nproc_per_node="$1" "${@:2}"
}

#!/usr/bin/env bash
# Checks the kernels on a GPU, and only if they are right times them and the model with them.
#
#   bash run_scripts/gpu_check.sh                 # within 10 minutes; the same command again does what was not done
#   MINUTES=4 bash run_scripts/gpu_check.sh
#   DEVICE=cpu bash run_scripts/gpu_check.sh      # without a GPU: Triton's interpreter, small sizes
#
# Environment:
#   OUT      folder of the results (default docs/results/gpu of the repository)
#   MINUTES  that it may take (default 10)
#   DEVICE   cuda or cpu (default cuda)
#   TESTS, BENCHMARKS, ARCHS, WORKS   what of each part is run (default: all; words, separated by spaces)
#   CONTENDERS  what the kernels are compared with, joined by commas (default: all)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
BEGAN=$SECONDS
OUT="${OUT:-$ROOT/docs/results/gpu}" MINUTES="${MINUTES:-10}" DEVICE="${DEVICE:-cuda}"
read -ra TESTS <<< "${TESTS:-tests/kernels}"
read -ra BENCHMARKS <<< "${BENCHMARKS-attention stem step}"
read -ra ARCHS <<< "${ARCHS-$([[ "$DEVICE" == cpu ]] && echo ofa_nano || echo ofa_base ofa_large)}"
read -ra WORKS <<< "${WORKS:-all}"
[[ "$MINUTES" =~ ^[1-9][0-9]*$ ]] || die "MINUTES=$MINUTES: set a whole number of minutes"
[[ "$DEVICE" == cuda || "$DEVICE" == cpu ]] || die "DEVICE=$DEVICE: set cuda or cpu"

set_up dev
[[ "$OUT" == /* ]] || OUT="$PWD/$OUT"
cd "$ROOT"
if [[ "$DEVICE" == cuda ]]; then
  "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' ||
    die "PyTorch finds no GPU; DEVICE=cpu does the same at small size"
  PRECISIONS=(fp32 bf16)
else
  export TRITON_INTERPRET=1
  PRECISIONS=(fp32)
fi
mkdir -p "$OUT/.done"
# What a step was done with; other code, another PyTorch or another device make it due again.
STATE="$("$PYTHON" - "$DEVICE" << 'END'
import sys
import torch
from ofa_mi.kernels.benchmarks.table import environment

print(*(f"{name}={value}" for name, value in environment(torch.device(sys.argv[1])).items() if name != "date"), sep=" ")
END
)"

# step NAME COMMAND…: run a command unless it has succeeded in this state; its output goes to OUT/NAME.log, too.
step() {
  local name="$1" left=$((60 * MINUTES - (SECONDS - BEGAN))) status=0
  shift
  if [[ -f "$OUT/.done/$name" && "$(< "$OUT/.done/$name")" == "$STATE $(quoted "$@")" ]]; then
    say "$name: done already"
    return
  fi
  ((left > 0)) || out_of_time "$name"
  say "$name: $(quoted "$@")"
  timeout --signal=INT --kill-after=20 "$left" "$@" 2>&1 | tee "$OUT/$name.log" || status=$?
  ((status != 124 && status != 137)) || out_of_time "$name"
  ((status == 0)) || die "$name failed; its output is in $OUT/$name.log"
  printf '%s' "$STATE $(quoted "$@")" > "$OUT/.done/$name.new"
  mv "$OUT/.done/$name.new" "$OUT/.done/$name"
}

out_of_time() {
  summary
  say "the $MINUTES minutes are over at $1; run the same command again to continue"
  exit 75 # as sysexits.h: try again later
}

summary() {
  "$PYTHON" -m ofa_mi.kernels.benchmarks.goals "$OUT" | tee "$OUT/goals.md"
}

step tests "$PYTHON" -m pytest -q -n 0 -p no:cacheprovider "${TESTS[@]}"
for name in "${BENCHMARKS[@]}"; do
  step "$name" "$PYTHON" -m ofa_mi.kernels.benchmarks "$name" --device "$DEVICE" --contenders "${CONTENDERS:-}" --out "$OUT"
done
for arch in "${ARCHS[@]}"; do
  step "model-$arch" "$PYTHON" -m ofa_mi.benchmark "${WORKS[@]}" --arch "$arch" --device "$DEVICE" --precision "${PRECISIONS[@]}" --out "$OUT"
done
summary
say "finished: $OUT"

#!/usr/bin/env bash
# Shows: how fast ofa_nano trains on this machine's CPU, by precision and number of processes.
# Needs: nothing; draws 500 scenes.
# Costs: 4 minutes on two cores that do nothing else.
#
#   bash run_scripts/analysis/cpu_speed.sh
#
# Result: OUT/speed.csv, the instances a second of every way: the median of what the log says after the first 20 updates.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
OUT="${OUT:-$ROOT/outputs/cpu_speed}"
PROFILE=cpu
experiment

run ofa-mi data scenes --out "$OUT/data" --train-scenes 500 --valid-scenes 10 --test-scenes 10 --side 128 --smallest-side 26
[[ -f "$OUT/vocabulary/dict.txt" ]] || run ofa-mi vocabulary --out "$OUT/vocabulary" --num-bins 64 --num-codes 0 "$OUT/data"

# measure PROCESSES THREADS OPTIONS…: a line of the table.
measure() {
  local processes="$1" threads="$2" log="$OUT/$1-$2${3:-}.log"
  shift 2
  local options=("$OUT/data" --task multiinstruct --arch ofa_nano --cpu --bpe-dir "$OUT/vocabulary" --tasks train
    --patch-image-size 128 --max-image-size 128 --criterion adjust_label_smoothed_cross_entropy --optimizer adam --lr 1e-3
    --batch-size 64 --max-update 80 --num-workers 0 --disable-validation --no-save --log-format json --log-interval 10 "$@")
  local launch=(ofa-mi train)
  ((processes == 1)) || launch=(torchrun --standalone --nproc-per-node "$processes" -m ofa_mi.cli train)
  if [[ "$DRY_RUN" == 1 ]]; then
    quoted "${launch[@]}" "${options[@]}"
    return
  fi
  OMP_NUM_THREADS="$threads" "${launch[@]}" "${options[@]}" > "$log" 2>&1 || die "$(ofa-mi experiment why "$log") ($log)"
  sed -n -E 's/.*\| train_inner \|.*"ups": "([0-9.]+)".*/\1/p' "$log" | tail -n +3 | sort -n |
    awk -v row="$processes,$threads,${*:-fp32}" -v batch="$((64 * processes))" \
      '{ ups[NR] = $1 } END { printf "%s,%.0f\n", row, batch * ups[int((NR + 1) / 2)] }' |
    sed 's/--bf16/bf16/' | tee -a "$OUT/speed.csv"
}

[[ "$DRY_RUN" == 1 ]] || echo "processes,threads,precision,instances per second" > "$OUT/speed.csv"
measure 1 2
if [[ "$PRECISION" == bf16 ]]; then measure 1 2 --bf16; fi
measure 2 1
if [[ "$PRECISION" == bf16 ]]; then measure 2 1 --bf16; fi

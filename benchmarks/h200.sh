#!/bin/sh
# Everything worth doing in one ten-minute call on a GPU: tests, kernel tables, steps, autoencoder, training.
# Needs only python3 with torch, triton, transformers, einops, safetensors and pytest; writes JSON and logs to $OUT.
# Parts run one after the other, most important first, each with its own limit: one that fails does not stop the rest.
cd "$(dirname "$0")/.." || exit 1
: "${OUT:=benchmarks/results/gpu}"
mkdir -p "$OUT"
for source in packages/*/src; do PYTHONPATH="$PWD/$source:$PYTHONPATH"; done
export PYTHONPATH PYTHONUNBUFFERED=1 EA_REQUIRE_GPU=1
failed=0
part() {
    name=$1
    limit=$2
    shift 2
    echo "== $name"
    timeout "$limit" "$@" >"$OUT/$name.log" 2>&1 || { echo "$name failed or ran out of time ($?)"; failed=1; }
    tail -n 30 "$OUT/$name.log"
}
part tests 200 python3 -m pytest -m gpu -n0 -q tests/kernels tests/dit/test_graphs.py
for name in kernels step vae train; do
    part "$name" 95 python3 benchmarks/gpu_suite.py --part "$name" --out "$OUT/$name.json"
done
exit $failed

#!/usr/bin/env bash
# Everything that a machine with a GPU has to say about the CUDA operators, in one call of at most nine minutes:
# builds and installs the package, runs the tests on CUDA, checks memory accesses, measures.
#
#   benchmarks/gpu.sh OUT [GEM_CNN] [WHEELS]
#
# OUT gets summary.txt, the logs and benchmark.csv, benchmark_tf32.csv. GEM_CNN is a checkout to compare with. WHEELS is
# a folder with packages that are missing there: nothing is fetched. PYTHON chooses the interpreter (python3), which
# has to have a torch with CUDA; nvcc has to be in PATH. A step that fails or runs late does not keep the next from running.
set -uo pipefail
out=$(mkdir -p "${1:?usage: benchmarks/gpu.sh OUT [GEM_CNN] [WHEELS]}" && cd "$1" && pwd)
gem=${2:+--gem_cnn $(cd "$2" && pwd)}
wheels=${3:+$(cd "$3" && pwd)}
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."
summary=$out/summary.txt
: > "$summary"

# step NAME SECONDS COMMAND...: its output in OUT/NAME.log, one line and the end of it in the summary.
step() {
  local name=$1 limit=$2 start=$SECONDS code=0
  shift 2
  timeout "$limit" "$@" > "$out/$name.log" 2>&1 || code=$?
  { echo "== $name: exit $code after $((SECONDS - start)) s"; tail -n 12 "$out/$name.log"; } | tee -a "$summary"
}

{
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.memory --format=csv
  nvcc --version | tail -n 2
  "$python" -c 'import sys, torch; print("python", sys.version.split()[0], "torch", torch.__version__, "cuda", torch.version.cuda)'
} 2>&1 | tee -a "$summary"

if [ -n "$wheels" ]; then step wheels 60 "$python" -m pip install -q --no-index --no-deps --find-links "$wheels" "$wheels"/*.whl; fi
MESHCONV_CUDA=1 step build 240 "$python" -m pip install -q --no-build-isolation --no-deps --no-index .

# From here on the installed package has to be found, not the folder beside this script.
cd "$out"
tests=$OLDPWD/tests
run=("$python" -m pytest -q -p no:cacheprovider -c "$OLDPWD/setup.cfg" --rootdir "$OLDPWD" -W default)
step backend 30 "$python" -c 'import meshconv.ops as o; print(o.__file__); print(o.BACKEND.reason); assert "cuda" in o.BACKEND.devices'
step tests 170 "${run[@]}" "$tests/test_cuda.py" "$tests/test_cuda_operators.py"
if command -v compute-sanitizer > /dev/null; then
  few="(equal_the_cpu and dtype1) or almost_nothing or long_rows or shared_memory"
  for tool in memcheck racecheck initcheck; do
    step "$tool" 50 compute-sanitizer --tool "$tool" --error-exitcode 9 "${run[@]}" -x -k "$few" "$tests/test_cuda_operators.py"
  done
fi
# shellcheck disable=SC2086
step benchmark 130 "$python" "$OLDPWD/benchmarks/gauge_conv.py" --device cuda $gem --csv "$out/benchmark.csv"
# shellcheck disable=SC2086
step benchmark_tf32 60 "$python" "$OLDPWD/benchmarks/gauge_conv.py" --device cuda --tf32 --only "655,362 vertices, one ring, 64" $gem --csv "$out/benchmark_tf32.csv"
grep -E '^==' "$summary"

#!/usr/bin/env bash
# What a machine with a GPU has to say about the CUDA operators, packed where there is none, in three stages of at most
# four minutes each. The most valuable comes first, and each may be the last.
#
#   benchmarks/gpu.sh prepare PACK [GEM_CNN]       anywhere with nvcc: compiles, and packs what the stages need
#   benchmarks/gpu.sh tests    PACK OUT            with a GPU: does the library load, tests/test_cuda*.py
#   benchmarks/gpu.sh sanitize PACK OUT            memcheck, racecheck, initcheck and synccheck of every kernel, same bits
#   benchmarks/gpu.sh measure  PACK OUT            the table of docs/benchmarks.md, Nsight Compute, an epoch of each training
#   benchmarks/gpu.sh all      PACK OUT            the three, one after the other
#
# PACK is a file, OUT a folder: summary.txt, and a log of each step. GEM_CNN is a checkout to compare with. The machine
# needs a checkout of these sources, PACK, and a python with torch for CUDA, numpy, scipy, pytest and lightning; nothing is
# fetched there. PYTHON chooses the interpreter (python3); PYTHON_TARGET its version for `prepare` (3.12). A step that
# fails or runs late does not keep the next from running. Without a device the stages stop where they need one.
set -uo pipefail
stage=${1:?usage: benchmarks/gpu.sh prepare|tests|sanitize|measure|all PACK ...}
pack=$(realpath "${2:?where is, or will be, the packed file?}")
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}

# What meshconv imports and a machine for torch usually lacks. Dependencies are listed, not resolved.
missing=(trimesh healpy astropy pyerfa astropy-iers-data robust_laplacian fast-simplification lazy_loader
  jsonargparse typeshed-client docstring-parser netCDF4 cftime)

prepare() {
  set -e
  local work gem=${1:-}
  work=$(mktemp -d)
  trap "rm -rf '$work'" EXIT
  cd "$here"
  echo "library: meshconv/_C for sm_80 and sm_90, and for what comes after by PTX"
  MESHCONV_CUDA=1 MESHCONV_REQUIRE_EXTENSION=1 "$python" setup.py -q build_ext --build-lib "$work/site" > "$work/build.log" 2>&1 ||
    { tail -n 20 "$work/build.log"; exit 1; }
  strip --strip-unneeded "$work"/site/meshconv/_C*.so
  (cd meshconv && find . \( -name '*.py' -o -name '*.pyi' -o -name '*.yaml' -o -name py.typed \) -print0 | tar -c --null -T -) |
    tar -x -C "$work/site/meshconv"
  cp -r data "$work/site/meshconv/data"
  echo "packages: ${missing[*]}"
  local platforms=()
  for glibc in 28 27 17; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
  for name in "${missing[@]}"; do
    "$python" -m pip --disable-pip-version-check install -q --no-deps --no-compile --only-binary=:all: --implementation cp \
      --python-version "${PYTHON_TARGET:-3.12}" "${platforms[@]}" --platform manylinux2014_x86_64 --platform any \
      --target "$work/site" --upgrade -c constraints.txt "$name" 2>&1 | grep -v -i warning || true
  done
  echo "data: one small set for each training"
  "$python" benchmarks/gpu_epochs.py prepare "$work/data"
  if [ -n "$gem" ]; then mkdir -p "$work/gem_cnn" && cp -r "$gem/gem_cnn" "$work/gem_cnn/"; fi
  git rev-parse HEAD > "$work/commit"
  XZ_OPT=-2 tar -C "$work" --exclude=__pycache__ --exclude=build.log --exclude='*.a' --exclude='site/*/*/tests' -cJf "$pack" .
  ls -sh "$pack"
}

# step NAME SECONDS COMMAND...: its output in OUT/NAME.log; one line and the end of it in the summary.
step() {
  local name=$1 limit=$2 left=$((deadline - SECONDS)) start=$SECONDS code=0
  shift 2
  if [ "$left" -lt 10 ]; then echo "== $name: no time left" | tee -a "$summary"; return; fi
  timeout "$((limit < left ? limit : left))" "$@" > "$out/$name.log" 2>&1 || code=$?
  { echo "== $name: exit $code after $((SECONDS - start)) s"; tail -n 12 "$out/$name.log"; } | tee -a "$summary"
  return "$code"
}

# The stages start with this: what was packed, what the machine is, and whether there is a device.
begin() {
  deadline=$((SECONDS + 235))
  # Unpacked once for all stages.
  unpacked=${TMPDIR:-/tmp}/meshconv_gpu_$(cksum < "$pack" | tr ' ' _)
  if [ ! -d "$unpacked" ]; then mkdir -p "$unpacked" && tar -C "$unpacked" -xJf "$pack" || exit 1; fi
  echo "=== $1, $(date -u +%FT%TZ), commit $(cat "$unpacked/commit")" | tee -a "$summary"
  export PYTHONPATH=$unpacked/site PYTHONUNBUFFERED=1 MESHCONV_CACHE=$unpacked/cache
  gem=()
  if [ -d "$unpacked/gem_cnn" ]; then gem=(--gem_cnn "$unpacked/gem_cnn"); fi
  # The packed package has to be found, not the folder beside this script.
  cd "$unpacked" || exit 1
  step device 40 "$python" - <<'PYTHON' || exit 3
import subprocess
import sys

import torch

print("python", sys.version.split()[0], "torch", torch.__version__, "cuda", torch.version.cuda)
import meshconv.ops as ops

print(ops.__file__, ops.BACKEND.reason or "compiled", ops.BACKEND.devices)
if "cuda" not in ops.BACKEND.devices:
    sys.exit("the packed library has no CUDA operators, or does not load with this torch")
if not torch.cuda.is_available():
    sys.exit("stopped here: torch finds no CUDA device")
print(torch.cuda.get_device_properties(0))
query = "name,driver_version,memory.total,clocks.max.sm,clocks.max.memory"
print(subprocess.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv"], capture_output=True, text=True).stdout)
PYTHON
}

pytest() { "$python" -m pytest -q -p no:cacheprovider -c "$here/setup.cfg" --rootdir "$here" -W default "$@"; }

tests() {
  begin tests
  local some=("$here/tests/test_cuda.py" "$here/tests/test_cuda_operators.py")
  export -f pytest
  export python here
  step tests 150 bash -c 'pytest -m "not slow" -k "not compiles" --maxfail 30 "$@"' - "${some[@]}"
  step compiled 90 bash -c 'pytest -k "compiles" "$@"' - "${some[@]}"
  step large 45 bash -c 'pytest -m slow "$@"' - "${some[@]}"
}

sanitize() {
  begin sanitize
  step same_bits 40 "$python" "$here/benchmarks/gpu_kernels.py" --repeats 20
  if ! command -v compute-sanitizer > /dev/null; then
    echo "== no compute-sanitizer in PATH" | tee -a "$summary"
    return
  fi
  # Torch's own kernels are not ours to check, and most of the time.
  for tool in memcheck racecheck initcheck synccheck; do
    step "$tool" 65 compute-sanitizer --tool "$tool" --error-exitcode 9 --kernel-name kernel_substring=meshconv \
      "$python" "$here/benchmarks/gpu_kernels.py" --repeats 1
  done
}

measure() {
  begin measure
  local one='{"name": "", "surface": "icosphere 7", "channels": 64, "max_order": 2, "operator": "%s", "num_radial": 2, "repeats": 1}'
  step rates 25 "$python" "$here/benchmarks/gpu_rates.py"
  step benchmark 90 "$python" "$here/benchmarks/gauge_conv.py" --device cuda "${gem[@]}" --csv "$out/benchmark.csv"
  step benchmark_tf32 30 "$python" "$here/benchmarks/gauge_conv.py" --device cuda --tf32 "${gem[@]}" \
    --only "655,362 vertices, one ring, 64" --csv "$out/benchmark_tf32.csv"
  if command -v ncu > /dev/null; then
    for pair in conv:moments_kernel sum:collect_kernel; do
      step "ncu_${pair#*:}" 30 ncu --clock-control none --kernel-name "regex:${pair#*:}" --launch-count 1 \
        --section SpeedOfLight --section MemoryWorkloadAnalysis --section Occupancy --section LaunchStats \
        "$python" "$here/benchmarks/entries.py" \
        "{\"entries\": [[$(printf "$one" "${pair%:*}"), \"meshconv\"]], \"threads\": 4, \"device\": \"cuda\", \"tf32\": false, \"gem_cnn\": null}"
    done
  fi
  step epochs 80 "$python" "$here/benchmarks/gpu_epochs.py" run "$unpacked/data" --device cuda
}

if [ "$stage" = prepare ]; then
  prepare "${3:+$(realpath "$3")}"
  exit
fi
out=$(mkdir -p "${3:?where do the logs go?}" && cd "$3" && pwd)
summary=$out/summary.txt
case $stage in
  tests | sanitize | measure) "$stage" ;;
  all) for one in tests sanitize measure; do ("$one") || exit; done ;;
  *) echo "unknown stage $stage" >&2; exit 2 ;;
esac
grep -E '^==' "$summary"

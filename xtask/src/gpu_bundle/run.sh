#!/usr/bin/env bash
# Runs the programs packed beside this script on a machine with a GPU driver: correctness first, and if all is
# correct, benches.
#
#   run.sh [NAME...]      only the programs whose names contain one of the NAMEs
#
# OUT               where to write results.jsonl, gpu.jsonl (speed), golden.jsonl and log.txt; ./out without it
# WARPDOT_DEVICES   what the command multiplies on; cpu,cuda:0 without it
# WARPDOT_TEST_GPU  which GPUs the tests demand, real or emulated; real without it
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${OUT:-$PWD/out}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
results=$out/results.jsonl
speed=$out/gpu.jsonl
log=$out/log.txt
: >"$results" >"$speed" >"$log"
work=$(mktemp -d) && cd "$work" || exit 2
trap 'rm -rf "$work"' EXIT
programs=$work/programs
mkdir "$programs" && tar -xzf "$here/programs.tar.gz" -C "$programs" || exit 2

export WARPDOT_TEST_GPU=${WARPDOT_TEST_GPU:-real}
devices=${WARPDOT_DEVICES:-cpu,cuda:0}
names=("$@")

# In containers the driver's folder is often not one that the loader knows.
if ! ldconfig -p 2>/dev/null | grep -q 'libcuda\.so\.1'; then
    for folder in /usr/local/nvidia/lib64 /usr/local/nvidia/lib /usr/local/cuda/compat /usr/lib/wsl/lib; do
        [ -e "$folder/libcuda.so.1" ] && export LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    done
fi

# A text as a JSON string.
string() { printf '"%s"' "$(printf %s "$1" | tr -d '\000-\037' | sed 's/[\\"]/\\&/g')"; }

query() { nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null | sort -u | paste -sd ';' -; }
gpu=$(query name)
driver=$(query driver_version)
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
machine="\"device\":$(string "${gpu:-none}"),\"driver\":$(string "${driver:-none}"),\"cpu\":$(string "${cpu:-unknown}")"
machine+=",\"threads\":$(nproc),\"date\":\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\",\"commit\":$(string "$(cat "$here/commit")")"

# One line of results: fields of its own, then those of the machine.
record() { printf '{%s,%s}\n' "$1" "$machine" >>"$results"; }

wanted() {
    [ ${#names[@]} -eq 0 ] && return 0
    local part
    for part in "${names[@]}"; do [[ $1 == *"$part"* ]] && return 0; done
    return 1
}

failures=0
started=0

# The number before a word in the last result line of a test program's output.
count() { sed -n "s/^test result:.* \([0-9]*\) $1;.*/\1/p" "$work/output" | tail -n 1; }

run_test() {
    local start=$SECONDS status=0
    "$1" >"$work/output" 2>&1 || status=$?
    cat "$work/output" >>"$log"
    local passed failed ignored
    passed=$(count passed) failed=$(count failed) ignored=$(count ignored)
    # A program that died reports no counts.
    [ -n "$passed" ] || status=$((status ? status : 1))
    record "\"kind\":\"test\",\"name\":$(string "$2"),\"exit\":$status,\"passed\":${passed:-0},\"failed\":${failed:-0},\"ignored\":${ignored:-0},\"seconds\":$((SECONDS - start))"
    printf '%-40s exit %d: %s passed, %s failed, %s ignored\n' "$2" "$status" "${passed:-0}" "${failed:-0}" "${ignored:-0}"
    if [ "$status" -ne 0 ]; then
        failures=$((failures + 1))
        tail -n 40 "$work/output"
    fi
}

# The command's own check of its products; its report goes into the results.
run_command() {
    local kind=$1 status=0
    shift
    "$programs/bin/warpdot" run --json --device "$devices" "$@" >"$work/output" 2>"$work/errors" || status=$?
    cat "$work/errors" >>"$log"
    local report
    report=$(tr -d '\n' <"$work/output")
    record "\"kind\":\"$kind\",\"name\":\"warpdot\",\"arguments\":$(string "$*"),\"exit\":$status,\"report\":${report:-null}"
    printf '%-40s exit %d: warpdot run %s\n' "$kind" "$status" "$*"
    if [ "$status" -ne 0 ]; then
        failures=$((failures + 1))
        tail -n 40 "$work/errors"
    fi
}

# What the GPU makes of each instruction, to be kept as a recording that the emulator is compared with.
run_recorder() {
    local status=0 device=()
    [ "$WARPDOT_TEST_GPU" = real ] || device=(--emulated 9.0)
    "$programs/bin/recorder" "${device[@]}" "$out/golden.jsonl" >"$work/output" 2>&1 || status=$?
    cat "$work/output" >>"$log"
    record "\"kind\":\"recording\",\"name\":\"recorder\",\"exit\":$status"
    printf '%-40s exit %d\n' recorder "$status"
    tail -n 40 "$work/output"
    [ "$status" -eq 0 ] || failures=$((failures + 1))
}

# Products by graph replays beside plain reads of the same weights; wrong ones get no figure and fail.
run_decode() {
    local status=0 gpus stamp
    gpus=$(tr , '\n' <<<"$devices" | grep -v '^cpu$' | paste -sd , -)
    if [ -z "$gpus" ]; then
        echo "no GPU among $devices: decode was not measured" | tee -a "$log"
        return
    fi
    "$programs/bin/warpdot" bench --device "$gpus" --cache cold --samples 11 --json "$work/decode.jsonl" "$@" \
        >"$work/output" 2>&1 || status=$?
    tee -a "$log" <"$work/output"
    # Which card it was is known here.
    stamp="\"driver\":$(string "${driver:-none}"),\"commit\":$(string "$(cat "$here/commit")")"
    [ -e "$work/decode.jsonl" ] && sed -e "s|\"device\":\"cuda:[0-9]*\"|\"device\":$(string "${gpu:-none}")|" -e "s|}\$|,$stamp}|" \
        "$work/decode.jsonl" >>"$speed"
    rm -f "$work/decode.jsonl"
    record "\"kind\":\"decode\",\"name\":\"warpdot\",\"arguments\":$(string "$*"),\"exit\":$status"
    [ "$status" -eq 0 ] || failures=$((failures + 1))
}

# What torch has for the same products, where there is a torch.
run_peers() {
    local status=0
    DRIVER=${driver:-none} COMMIT=$(cat "$here/commit") python3 "$here/peers.py" "$speed" >"$work/output" 2>&1 || status=$?
    tee -a "$log" <"$work/output"
    record "\"kind\":\"peers\",\"name\":\"torch\",\"exit\":$status"
    printf '%-40s exit %d\n' peers.py "$status"
    [ "$status" -eq 0 ] || failures=$((failures + 1))
}

# A criterion bench; its estimates, in nanoseconds, go into the results.
run_bench() {
    local status=0
    echo "bench $2" | tee -a "$log"
    CRITERION_HOME=$work/criterion "$1" --bench --noplot --warm-up-time 1 --measurement-time 2 2>&1 | tee -a "$log" || status=$?
    local estimates
    while IFS= read -r estimates; do
        record "\"kind\":\"bench\",\"name\":$(string "$2"),\"benchmark\":$(tr -d '\n' <"${estimates%estimates.json}benchmark.json"),\"estimates\":$(tr -d '\n' <"$estimates")"
    done < <(find "$work/criterion" -path '*/new/estimates.json' 2>/dev/null | sort)
    rm -rf "$work/criterion"
    if [ "$status" -ne 0 ]; then
        record "\"kind\":\"bench\",\"name\":$(string "$2"),\"exit\":$status"
        failures=$((failures + 1))
    fi
}

echo "GPU: ${gpu:-none}, driver ${driver:-none}; CPU: ${cpu:-unknown}; commit $(cat "$here/commit")"
"$programs/bin/warpdot" info 2>&1 | tee -a "$log"

for program in "$programs"/tests/*; do
    name=$(basename "$program")
    wanted "$name" || continue
    started=$((started + 1))
    run_test "$program" "$name"
done
if wanted warpdot; then
    started=$((started + 1))
    for m in 1 2,3,4 5,8,9 33; do
        run_command check --numerics reproducible --repeat 2 --m "$m" --n 1031 --k 2048
    done
fi
if wanted recorder; then
    started=$((started + 1))
    run_recorder
fi
if [ "$failures" -ne 0 ]; then
    echo "$failures failed; no benches. Results: $results, $log"
    exit 1
fi

common=Q4_0,Q8_0,Q4_K,Q6_K
# Small, middling and large matrices for the common formats, and one for all.
decode=(
    1x4096x4096,8x4096x4096,1x8192x8192,8x8192x8192,1x16384x16384,8x16384x16384
    1x8192x28672,8x8192x28672
)
if wanted warpdot; then
    run_command time --type $common --m 1,8 --n 14336 --k 4096 --repeat 50
    run_command time --type $common --m 128,512 --n 4096 --k 4096 --repeat 10
fi
if wanted decode; then
    started=$((started + 1))
    run_decode --types $common --shapes "${decode[0]}"
    run_decode --types all --shapes "${decode[1]}"
fi
if wanted peers; then
    started=$((started + 1))
    if command -v python3 >/dev/null; then run_peers; else echo "no python3: peers were not measured" | tee -a "$log"; fi
fi
for program in "$programs"/benches/*; do
    name=$(basename "$program")
    [ -x "$program" ] && wanted "$name" || continue
    started=$((started + 1))
    run_bench "$program" "$name"
done
if [ "$started" -eq 0 ]; then
    echo "no program's name contains any of: ${names[*]}"
    exit 2
fi
echo "$started programs, $failures failures. Results: $results, $log"
[ "$failures" -eq 0 ]

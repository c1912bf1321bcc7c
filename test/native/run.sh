#!/usr/bin/env bash
# Compiles shim-harness.c, which includes c/shim.c, for several targets and runs it: gcc and clang
# with warnings as errors, with the address, undefined-behaviour and thread sanitizers, musl, and
# arm64 under qemu. Targets whose tools are not installed are skipped, with a line that gives the
# reason. Then runs shim-fuzz.c with random arguments under the address and undefined-behaviour
# sanitizers: SHIM_FUZZ_CALLS calls (default 200,000) with seed SHIM_FUZZ_SEED (default: random). The
# last line is "N passed, N failed"; the exit code is 1 if anything failed.
set -u
cd "$(dirname "$0")"

readonly OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT
readonly WARNINGS=(-std=gnu11 -Wall -Wextra -Werror -g)
passed=0
failed=0

# have <program>...: returns whether all programs are installed. Prints the first missing one.
have() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null && continue
    echo "skip $name: $program is not installed"
    return 1
  done
}

# compiles <compiler> <option>...: returns whether the harness compiles and links.
compiles() {
  if "$@" -o "$OUT/harness" shim-harness.c >"$OUT/log" 2>&1; then return 0; fi
  echo "FAIL $name: does not compile"
  cat "$OUT/log"
  failed=$((failed + 1))
  return 1
}

# runs <command>...: runs the harness, prints its result, and adds its sections to the totals.
runs() {
  timeout 120 "$@" >"$OUT/log" 2>&1
  local code=$? ok bad
  ok=$(grep -c '^ok ' "$OUT/log")
  bad=$(grep -c '^FAIL ' "$OUT/log")
  passed=$((passed + ok))
  grep '^skip' "$OUT/log" | sed "s/^skip/skip $name:/"
  if [ "$code" -eq 0 ] && tail -n 1 "$OUT/log" | grep -q ' passed, 0 failed$'; then
    echo "ok   $name: $ok sections, $(tail -n 1 "$OUT/log" | cut -d ' ' -f 1) checks"
    return
  fi
  echo "FAIL $name: exit code $code"
  grep -v '^ok' "$OUT/log" | head -n 60
  failed=$((failed + (bad > 0 ? bad : 1)))
}

# can_sanitize <compiler> <sanitizer>: returns whether the runtime of the sanitizer is installed.
can_sanitize() {
  echo 'int main(void) { return 0; }' >"$OUT/probe.c"
  "$1" "-fsanitize=$2" -o "$OUT/probe" "$OUT/probe.c" 2>/dev/null && "$OUT/probe" && return 0
  echo "skip $name: the runtime of the sanitizer is not installed"
  return 1
}

for compiler in gcc clang; do
  for level in -O0 -O3; do
    name="$compiler $level"
    have "$compiler" || continue
    compiles "$compiler" "${WARNINGS[@]}" "$level" && runs "$OUT/harness"
  done
  for sanitizer in address,undefined thread; do
    name="$compiler $sanitizer"
    have "$compiler" && can_sanitize "$compiler" "$sanitizer" || continue
    compiles "$compiler" "${WARNINGS[@]}" -O1 "-fsanitize=$sanitizer" -fno-sanitize-recover=all &&
      runs "$OUT/harness"
  done
done

readonly CALLS=${SHIM_FUZZ_CALLS:-200000} SEED=${SHIM_FUZZ_SEED:-$RANDOM$RANDOM}
for compiler in gcc clang; do
  name="random calls, $compiler"
  have "$compiler" && can_sanitize "$compiler" address,undefined || continue
  if ! "$compiler" "${WARNINGS[@]}" -O1 -fsanitize=address,undefined -fno-sanitize-recover=all \
    -o "$OUT/fuzz" shim-fuzz.c >"$OUT/log" 2>&1; then
    echo "FAIL $name: does not compile"
    cat "$OUT/log"
    failed=$((failed + 1))
  # In the temporary folder, where a call that creates a file does no harm.
  elif (cd "$OUT" && timeout 1000 ./fuzz "$CALLS" "$SEED") >"$OUT/log" 2>&1; then
    echo "ok   $name: $(tail -n 1 "$OUT/log")"
    passed=$((passed + 1))
  else
    echo "FAIL $name: seed $SEED"
    head -n 60 "$OUT/log"
    failed=$((failed + 1))
  fi
done

name="musl"
have musl-gcc && compiles musl-gcc "${WARNINGS[@]}" -static && runs "$OUT/harness"

name="arm64"
if have aarch64-linux-gnu-gcc &&
  compiles aarch64-linux-gnu-gcc "${WARNINGS[@]}" -static -DEMULATED; then
  name="arm64 under qemu"
  have qemu-aarch64-static && runs qemu-aarch64-static "$OUT/harness" 200
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

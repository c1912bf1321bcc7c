#!/usr/bin/env bash
# Compiles c/shim.c with its harness by every compiler of the machine and runs it: warnings as
# errors, address, undefined-behaviour and thread sanitizers, musl, arm64 under qemu. What is not
# installed is skipped with a line that says so. The last line sums up; the exit code is 1 when
# anything failed.
set -u
cd "$(dirname "$0")"

readonly OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT
readonly WARNINGS=(-std=gnu11 -Wall -Wextra -Werror -g)
passed=0
failed=0

# have <program>...: whether all are installed; prints a line where one is not.
have() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null && continue
    echo "skip $name: $program is not installed"
    return 1
  done
}

# compiles <command>...: whether the harness compiles and links.
compiles() {
  if "$@" -o "$OUT/harness" shim-harness.c >"$OUT/log" 2>&1; then return 0; fi
  echo "FAIL $name: does not compile"
  cat "$OUT/log"
  failed=$((failed + 1))
  return 1
}

# runs <launcher>...: runs what was compiled and counts its sections.
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

# can_sanitize <compiler> <sanitizer>: whether the compiler has the sanitizer's runtime.
can_sanitize() {
  echo 'int main(void) { return 0; }' >"$OUT/probe.c"
  "$1" "-fsanitize=$2" -o "$OUT/probe" "$OUT/probe.c" 2>/dev/null && "$OUT/probe" && return 0
  echo "skip $name: no runtime of that sanitizer"
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

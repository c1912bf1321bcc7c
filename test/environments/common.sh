# Sourced by the scripts of this folder. Each creates an environment, and runs checks in it. The last
# line is "N passed, N failed"; the exit code is 1 if anything failed, and 77, after the reason, if
# the machine cannot create the environment.
set -u
readonly CHECKOUT=$(cd "$(dirname "$0")/../.." && pwd)
readonly BUN=$(readlink -f "$CHECKOUT/node_modules/.bin/bun")
readonly NAME=$(basename "$0" .sh)
readonly WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
passed=0
failed=0

skip() {
  echo "skip $NAME: $1"
  exit 77
}

needs_root() {
  [ "$(id -u)" = 0 ] || skip "needs root"
}

needs() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || skip "$program is not installed"
  done
}

# check <name> <command>...: runs a command, which counts as one. Prints its output if it fails.
check() {
  local name=$1 code
  shift
  timeout --kill-after=5 90 "$@" >"$WORK/log" 2>&1
  code=$?
  if [ "$code" -eq 0 ]; then
    passed=$((passed + 1))
    echo "ok   $NAME: $name ($(tail -n 1 "$WORK/log"))"
  else
    failed=$((failed + 1))
    echo "FAIL $NAME: $name, exit code $code"
    tail -n 60 "$WORK/log"
  fi
}

# check_tests <command>...: runs `bun test`, whose counts are added.
check_tests() {
  local code ok bad
  timeout --kill-after=5 150 "$@" >"$WORK/log" 2>&1
  code=$?
  ok=$(sed -nE 's/^ *([0-9]+) pass$/\1/p' "$WORK/log" | tail -n 1)
  bad=$(sed -nE 's/^ *([0-9]+) fail$/\1/p' "$WORK/log" | tail -n 1)
  passed=$((passed + ${ok:-0}))
  grep -a '^skipped' "$WORK/log" | sort -u
  if [ "$code" -eq 0 ] && [ "${ok:-0}" -gt 0 ]; then
    echo "ok   $NAME: tests ($ok passed)"
    return
  fi
  echo "FAIL $NAME: tests, exit code $code"
  grep -av '^(pass)\|^(skip)' "$WORK/log" | tail -n 80
  failed=$((failed + (${bad:-0} > 0 ? ${bad:-0} : 1)))
}

summary() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
}

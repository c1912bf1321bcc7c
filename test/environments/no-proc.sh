#!/usr/bin/env bash
# No /proc: nothing of it exists except /proc/self/maps of the process itself, without which Bun
# does not start.
. "$(dirname "$0")/common.sh"
needs_root
needs unshare
unshare -m true 2>/dev/null || skip "unshare -m is not permitted"

readonly PROC=$WORK/proc
mkdir "$PROC"
export PROC

# without_proc <command>...: the process ID stays the same until the command is executed.
without_proc() {
  exec unshare -m --propagation private bash -eu -c '
    mount -t proc proc "$0"
    mount -t tmpfs none /proc
    mkdir "/proc/$$"
    touch "/proc/$$/maps"
    mount --bind "$0/$$/maps" "/proc/$$/maps"
    mount -t tmpfs none "$0"
    ln -s "$$" /proc/self
    exec "$@"' "$PROC" "$@"
}
export -f without_proc

cd "$CHECKOUT" || exit 1
check "there is no /proc/self/fd" bash -c \
  'without_proc "$@"' - "$BUN" -e 'if (require("fs").existsSync("/proc/self/fd")) throw 1'
check "smoke" bash -c 'without_proc "$@"' - "$BUN" test/environments/smoke.ts native
check "doctor says to mount /proc" bash -c \
  'without_proc "$@" | grep -o "mount -t proc.*"' - "$BUN" lib/doctor/bin.js doctor
check "demo" bash -c 'without_proc "$@"' - "$BUN" examples/flow-proxy/main.ts --duration 1
check_tests bash -c 'without_proc "$@"' - "$BUN" test --timeout 20000 \
  ./test/{batch/send-batch-drop,sockets/shared-waker,sockets/close-during-call,sockets/recv-range}.test.ts
summary

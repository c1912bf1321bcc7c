#!/usr/bin/env bash
# A slim image: a root directory with nothing but Bun, its shared libraries and this checkout. No
# compiler, no headers, no shell; with a writable /tmp, and with no writable directory at all.
. "$(dirname "$0")/common.sh"
needs_root
needs unshare ldd
unshare -m true 2>/dev/null || skip "unshare -m is not permitted"

readonly ROOT=$WORK/root
mkdir -p "$ROOT"/{app,dev,proc,tmp,etc}
cp "$BUN" "$ROOT/bun"
ldd "$BUN" | grep -o '/[^ ]*' | while read -r library; do
  mkdir -p "$ROOT$(dirname "$library")"
  cp -L "$library" "$ROOT$library"
done
printf '127.0.0.1 localhost\n' >"$ROOT/etc/hosts"
MODULES=$(readlink -f "$CHECKOUT/node_modules")
export ROOT CHECKOUT MODULES

# in_root <command>...: the mounts exist in this mount namespace only, and are removed with it.
in_root() {
  exec unshare -m --propagation private bash -eu -c '
    mount --bind "$ROOT" "$ROOT"
    mount -t proc proc "$ROOT/proc"
    mount --bind /dev "$ROOT/dev"
    mount --bind "$CHECKOUT" "$ROOT/app"
    [ ! -L "$CHECKOUT/node_modules" ] || {
      mkdir -p "$ROOT$MODULES"
      mount --bind "$MODULES" "$ROOT$MODULES"
      mount -o remount,bind,ro "$ROOT$MODULES"
    }
    mount -o remount,bind,ro "$ROOT/app"
    [ "$WRITABLE" = no ] || mount -t tmpfs none "$ROOT/tmp"
    mount -o remount,bind,ro "$ROOT"
    exec chroot "$ROOT" "$@"' slim-root.sh "$@"
}
export -f in_root

smoke() {
  check "$1" bash -c 'in_root "$@"' - /bun /app/test/environments/smoke.ts "${@:2}"
}

export WRITABLE=yes
smoke "smoke, writable /tmp" native
check_tests bash -c 'in_root "$@"' - /bun test --cwd=/app --timeout 20000 \
  ./test/{traits/send,buffer/buffer,sockets/udp,sockets/unix,batch/send-batch}.test.ts

export WRITABLE=no
check "nothing is writable" bash -c \
  '! (in_root /bun -e "require(\"fs\").mkdtempSync(\"/tmp/x\")") 2>/dev/null && echo EROFS'
smoke "smoke, read-only" native
check "doctor" bash -c 'in_root "$@"' - /bun /app/lib/doctor/bin.js doctor
check "demo" bash -c 'in_root "$@"' - /bun /app/examples/flow-proxy/main.ts --duration 1
check_tests bash -c 'in_root "$@"' - /bun test --cwd=/app --timeout 20000 \
  ./test/{traits/send,buffer/buffer,address/ip}.test.ts
summary

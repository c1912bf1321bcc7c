#!/usr/bin/env bash
# Runs tests under the musl build of Bun on a glibc machine, in a chroot that contains the loader of
# musl, Bun and this checkout, like a small Alpine Linux. Bun needs libstdc++, which Debian packages
# for glibc only; musl-libstdcxx.c defines the glibc symbols that it requires.
#
# usage: test/native/musl.sh [test file]...
# Prints the reason and exits with 77 if the machine does not meet the requirements.
set -eu

readonly CHECKOUT=$(cd "$(dirname "$0")/../.." && pwd)
readonly LOADER=/lib/ld-musl-x86_64.so.1
readonly LIBRARIES=/usr/lib/x86_64-linux-gnu

skip() {
  echo "skip musl: $1"
  exit 77
}

[ "$(uname -m)" = x86_64 ] || skip "written for x86-64"
[ "$(id -u)" = 0 ] || skip "needs root"
[ -e "$LOADER" ] || skip "no $LOADER (Debian: musl)"
command -v musl-gcc >/dev/null || skip "musl-gcc is not installed"
command -v npm >/dev/null || skip "npm is not installed"
unshare -m true 2>/dev/null || skip "unshare -m is not permitted"

readonly ROOT=$(mktemp -d)
trap 'rm -rf "$ROOT"' EXIT
mkdir -p "$ROOT"/{app,bin,dev,etc,lib,proc,sys,tmp}

version=$(node -p "require('$CHECKOUT/package.json').devDependencies.bun")
(cd "$ROOT/tmp" && npm pack --silent "@oven/bun-linux-x64-musl@$version" >/dev/null) ||
  skip "npm cannot download @oven/bun-linux-x64-musl@$version"
tar -xzf "$ROOT"/tmp/*.tgz -C "$ROOT/tmp"
mv "$ROOT/tmp/package/bin/bun" "$ROOT/bin/bun"
rm -rf "$ROOT"/tmp/*
printf "127.0.0.1 localhost\n::1 localhost\n" >"$ROOT/etc/hosts"

cp -L "$LOADER" "$ROOT/lib/ld-musl-x86_64.so.1"
ln -s ld-musl-x86_64.so.1 "$ROOT/lib/libc.musl-x86_64.so.1"
cp -L "$LIBRARIES/libstdc++.so.6" "$ROOT/lib/"
cp -L /lib/x86_64-linux-gnu/libgcc_s.so.1 "$ROOT/lib/"
musl-gcc -shared -fPIC -o "$ROOT/lib/ld-linux-x86-64.so.2" \
  "$CHECKOUT/test/native/musl-libstdcxx.c"

# Some tests run bash. It keeps using glibc.
cp -L "$(command -v bash)" "$ROOT/bin/bash"
ldd "$(command -v bash)" | grep -o '/[^ ]*' | while read -r library; do
  mkdir -p "$ROOT$(dirname "$library")"
  cp -L "$library" "$ROOT$library"
done

# The mounts exist in this mount namespace only, and are removed with it.
export ROOT CHECKOUT
unshare -m --propagation private bash -eu -c '
  mount -t proc proc "$ROOT/proc"
  mount --rbind /dev "$ROOT/dev"
  mount --rbind /sys "$ROOT/sys"
  mount --bind "$CHECKOUT" "$ROOT/app"
  exec chroot "$ROOT" /bin/bun test --cwd=/app --timeout 20000 "$@"' musl.sh "$@"

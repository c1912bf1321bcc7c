#!/usr/bin/env bash
# An ordinary user without capabilities, in a copy of this checkout that belongs to the user.
. "$(dirname "$0")/common.sh"
needs_root
needs setpriv node npm

readonly USER_ID=65534
mkdir "$WORK/repository"
# Without what the build of the documentation changes, which may run at the same time.
(cd "$CHECKOUT" && tar -c --exclude=./.git --exclude=./{,bench/,docs/}node_modules --exclude=./docs/api \
  --exclude=./docs/.vitepress/{cache,dist,screenshots} .) |
  tar -x -C "$WORK/repository"
cp -r "$(readlink -f "$CHECKOUT/node_modules")" "$WORK/repository/node_modules"
mkdir "$WORK/tmp"
touch "$WORK/log"
chmod 755 "$WORK"
chown -R "$USER_ID:$USER_ID" "$WORK/repository" "$WORK/tmp"
cd "$WORK/repository" || exit 1

as_user() {
  echo setpriv --reuid="$USER_ID" --regid="$USER_ID" --clear-groups --inh-caps=-all \
    --bounding-set=-all env HOME="$WORK/tmp" TMPDIR="$WORK/tmp"
}
check "smoke" $(as_user) node_modules/.bin/bun test/environments/smoke.ts native
check "demo" $(as_user) npm run --silent demo -- --duration 1
check_tests $(as_user) npm test --silent -- \
  ./test/{datagram,ffi,linux,net}/*.test.ts ./test/sockets/{mmsg,u}*.test.ts
summary

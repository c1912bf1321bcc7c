#!/usr/bin/env bash
# The oldest Bun that package.json allows ("engines"), and the newest release, unless it is the
# installed one.
. "$(dirname "$0")/common.sh"
needs npm node
cd "$CHECKOUT" || exit 1
readonly OLDEST=$(node -p 'require("./package.json").engines.bun.replace(">=", "")')

readonly NEWEST=$(npm view bun version)
readonly INSTALLED=$("$BUN" --version)

for version in "$OLDEST" "$NEWEST"; do
  if [ "$version" = "$INSTALLED" ]; then
    echo "skip Bun $version: it is the installed version, which runs all tests"
    continue
  fi
  mkdir "$WORK/$version"
  if ! npm install --prefix "$WORK/$version" --no-save --loglevel=error "bun@$version" \
    >"$WORK/log" 2>&1; then
    tail -n 3 "$WORK/log"
    skip "npm cannot install bun@$version"
  fi
  bun=$WORK/$version/node_modules/.bin/bun
  name="Bun $("$bun" --version)"
  check "$name: smoke" "$bun" test/environments/smoke.ts native
  check "$name: doctor" "$bun" lib/doctor/bin.js doctor
  check "$name: demo" "$bun" examples/flow-proxy/main.ts --duration 1
  check_tests "$bun" test --timeout 20000 \
    ./test/{batch/send-batch,buffer/buffer,ffi/load,sockets/udp,sockets/unix,sockets/worker}.test.ts
done
summary

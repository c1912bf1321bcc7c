#!/usr/bin/env bash
# The oldest Bun that package.json allows ("engines"), and the newest release, unless it is the
# installed one. An older one can parse the bundle, warns, and uses the portable backend.
. "$(dirname "$0")/common.sh"
needs npm node
cd "$CHECKOUT" || exit 1
readonly OLDEST=$(node -p 'require("./package.json").engines.bun.replace(">=", "")')

readonly NEWEST=$(npm view bun version)
readonly TOO_OLD=1.2.20
readonly INSTALLED=$("$BUN" --version)

# install <version>: prints the path of that Bun.
install() {
  mkdir "$WORK/$1"
  if ! npm install --prefix "$WORK/$1" --no-save --loglevel=error "bun@$1" >"$WORK/log" 2>&1; then
    tail -n 3 "$WORK/log" >&2
    return 1
  fi
  echo "$WORK/$1/node_modules/.bin/bun"
}

for version in "$OLDEST" "$NEWEST"; do
  if [ "$version" = "$INSTALLED" ]; then
    echo "skip Bun $version: it is the installed version, which runs all tests"
    continue
  fi
  bun=$(install "$version") || skip "npm cannot install bun@$version"
  name="Bun $("$bun" --version)"
  check "$name: smoke" "$bun" test/environments/smoke.ts native
  check "$name: doctor" "$bun" lib/doctor/bin.js doctor
  check "$name: demo" "$bun" examples/flow-proxy/main.ts --duration 1
  check_tests "$bun" test --timeout 20000 \
    ./test/{batch/send-batch,buffer/buffer,ffi/load,sockets/udp,sockets/unix,sockets/worker}.test.ts
done

cat >"$WORK/too-old.mjs" <<'END'
const { UdpSocket } = await import(process.argv[2]);
const warned = new Promise((resolve) => process.once("warning", resolve));
const socket = await UdpSocket.bind();
const { message } = await warned;
console.log(`${socket.backend}, ${message}`);
process.exit(socket.backend === "portable" && message.includes("or later expected") ? 0 : 1);
END
bun=$(install "$TOO_OLD") || skip "npm cannot install bun@$TOO_OLD"
check "the bundle is built" "$BUN" .ci/bundle.ts
check "Bun $TOO_OLD: warning and portable backend" "$bun" "$WORK/too-old.mjs" "$CHECKOUT/dist/index.js"
rm -r dist
summary

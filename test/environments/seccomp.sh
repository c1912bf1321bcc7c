#!/usr/bin/env bash
# Seccomp forbids io_uring, then also new threads, which the helper thread for
# readiness needs.
. "$(dirname "$0")/common.sh"
cd "$CHECKOUT" || exit 1
readonly FORBID=./test/environments/forbid.ts
"$BUN" --preload "$FORBID" -e 0 || skip "seccomp filters are not permitted"

check "smoke without io_uring" "$BUN" --preload "$FORBID" test/environments/smoke.ts native
check_tests "$BUN" test --preload "$FORBID" --timeout 20000 \
  ./test/{traits/send,sockets/udp,sockets/unix,sockets/shared-waker,readiness/fallback}.test.ts

export FORBID_THREADS=1
export BUN_JSC_useConcurrentJIT=0 BUN_JSC_useConcurrentGC=0 BUN_JSC_numberOfGCMarkers=1
check "smoke without threads" "$BUN" --preload "$FORBID" test/environments/smoke.ts native
check "demo" "$BUN" --preload "$FORBID" examples/flow-proxy/main.ts --duration 1
# The helper thread cannot be started, which also shows that the filter works.
check "smoke without threads, with the helper thread requested" \
  env DATAGRAM_SOCKET_READINESS=thread \
  "$BUN" --preload "$FORBID" test/environments/smoke.ts portable
summary

#!/usr/bin/env bash
# Runs tests of pointers, buffers and closing while the garbage collector runs all the time, so that
# memory that nothing holds is freed as early as possible. Without the tests that count allocations.
cd "$(dirname "$0")"
BUN_JSC_collectContinuously=1 exec "${BUN:-bun}" test --timeout 60000 \
  -t '^(?!.*(allocat|steady))' ./{address,batch,buffer,ffi,linux,traits}/*.test.ts \
  ./sockets/{batches,close-during-call,endings,hostile-arguments,lifetime,mmsg}.test.ts \
  ./sockets/{recv-range,udp-send-recv,unix,worker}.test.ts

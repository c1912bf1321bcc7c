#!/usr/bin/env bash
# What a machine may lack: descriptors, uptime, IPv6, a loopback address, the packages that CI
# installs. Runs the tests that depend on each.
. "$(dirname "$0")/common.sh"
needs_root
needs unshare ip sysctl
unshare -n true 2>/dev/null || skip "unshare -n is not permitted"
cd "$CHECKOUT" || exit 1

# tests <file>...: the command that runs them.
tests() {
  printf '%s\n' "$BUN" test --timeout 20000 "$@"
}

mapfile -t command < <(tests ./test/{ffi/poller,readiness/tick-budget,sockets/unix}.test.ts)
check_tests bash -c 'ulimit -n 256; exec "$@"' - "${command[@]}"

# One minute after boot: the monotonic clock starts at boot.
readonly UPTIME=$(cut -d . -f 1 /proc/uptime)
mapfile -t command < <(tests ./test/datagram/*.test.ts ./test/batch/send-batch.test.ts)
if unshare -T true 2>/dev/null && [ "$UPTIME" -gt 60 ]; then
  check_tests unshare -T --fork --monotonic=$((60 - UPTIME)) --boottime=$((60 - UPTIME)) \
    "${command[@]}"
else
  echo "skip $NAME: time namespaces are not available"
fi

mapfile -t command < <(tests ./test/{datagram,sockets}/u*.test.ts ./test/datagram/send-meta.test.ts)
check_tests unshare -n bash -c '
  ip link set lo up
  sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1
  exec "$@"' - "${command[@]}"

mapfile -t command < <(tests ./test/{address,buffer,datagram,net,sockets,traits}/*.test.ts)
check_tests unshare -n "${command[@]}"

# Programs of packages that Debian installs by default, and Bun.
mkdir "$WORK/bin"
for program in bash cat chroot env grep ldd ls mkdir mount rm sed setpriv sh sleep tar timeout true unshare; do
  ln -s "$(command -v "$program")" "$WORK/bin/$program"
done
mapfile -t command < <(tests ./test/{ffi,linux,net,project}/*.test.ts)
check_tests env PATH="$WORK/bin" "${command[@]}"
summary

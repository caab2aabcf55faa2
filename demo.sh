#!/bin/sh
# The README's demo: real input into a directory, a writer killed in the middle, everything read
# back and verified. Needs Rust alone; leaves nothing behind.
set -eu
cd "$(dirname "$0")"

cargo=${CARGO:-cargo}
"$cargo" build --quiet --locked -p kfs-cli
PATH="$(pwd)/${CARGO_TARGET_DIR:-target}/debug:${CARGO_TARGET_DIR:-target}/debug:$PATH"
data=$(mktemp -d)
writer=
cleanup() {
  [ -z "$writer" ] || kill -9 "$writer" 2>/dev/null || true
  rm -rf "$data"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
export KFS_BUCKET="file://$data/bucket"
mkdir "$data/bucket"

say() { printf '\n# %s\n' "$*"; }
# Shows a command, then runs it.
run() {
  printf '$ %s\n' "$1"
  sh -eu -c "$1"
}
fail() {
  printf 'demo: %s\n' "$*" >&2
  exit 1
}

say "Every line of a real file becomes a record."
run 'kfs append --lines demo/0 < Cargo.lock'
kfs cat demo/0 --format text | cmp - Cargo.lock || fail "what was read back is not what was appended"
echo "read back: the same $(wc -l < Cargo.lock) lines"

say "Batches as Kafka's Java producer compressed them go in as they are, and get new offsets."
run 'kfs cat tests/vectors/clients/java-producer-gzip/segment-*.kfs --format raw | kfs append --raw demo/1'
run 'kfs cat demo/1 --from 165 --format jsonl'

say "The bucket is plain files, in the layout that KafScale's broker and processors read."
run "cd '$data/bucket' && find . -type f | sort"
run 'kfs ls demo/1'

say "A writer reports each range of offsets once it is durable, and is killed in the middle."
lines() { awk -v n="$1" 'BEGIN { for (i = 0; n < 0 || i < n; i++) print "record number " i }'; }
mkfifo "$data/input"
: > "$data/acks"
lines -1 > "$data/input" 2>/dev/null &
kfs append --lines --report --flush-bytes 65536 demo/2 < "$data/input" > "$data/acks" &
writer=$!
tries=0
while [ "$(wc -l < "$data/acks")" -lt 20 ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 600 ] || fail "no 20 reports in a minute"
  sleep 0.1
done
kill -9 "$writer"
wait "$writer" 2>/dev/null || true
writer=
# The kill may have cut the last line.
acked=$(sed -n 's/.*"last_offset": *\([0-9]*\).*}$/\1/p' "$data/acks" | tail -n 1)
echo "killed (SIGKILL); acked as durable until then: offsets 0 to $acked"

say "Opened again: every acked record is there, and appends continue after the last one."
count=$((acked + 1))
lines "$count" > "$data/expected"
kfs cat demo/2 --count "$count" --format text | cmp - "$data/expected" || fail "an acked record is missing or changed"
echo "read back: all $count acked records, the same"
run 'echo "first record after the crash" | kfs append --lines --report demo/2'

say "Every checksum, batch, index and the chain of offsets:"
run 'kfs verify demo/0 && kfs verify demo/1 && kfs verify demo/2'
say "Done; the directory is removed."

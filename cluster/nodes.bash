# How the processes of a cluster are started and waited for. Read after local.bash.
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR
# shellcheck source=local.bash

# Those whose end is noticed while something is waited for.
nodes=()

# Ends with the last lines of a process's log when one that was started is gone.
explain() {
  local name
  for name in "$@"; do
    is_running "$name" && continue
    say "$name has ended; the end of $(shown "$LOG/$name.log"):" >&2
    tail -n 5 "$LOG/$name.log" >&2
    exit 1
  done
}

# wait_for SECONDS WHAT CONDITION… — with an eye on the processes in `nodes`.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    explain "${nodes[@]}"
    ((SECONDS < deadline)) || fail "$what takes too long; the logs are in $(shown "$LOG")"
    sleep 0.1
  done
}

is_answering() { [[ $(http_status "$1" "$2") == 200 ]]; }

start_etcd() {
  local url=$ETCD_URL peer=http://127.0.0.1:$ETCD_PEER_PORT
  # etcd 3.4 wants to be told that this is meant.
  if [[ $(uname -m) == aarch64 ]]; then local -x ETCD_UNSUPPORTED_ARCH=arm64; fi
  # A lease of 1 s needs these intervals. Without compaction every change would be kept for ever.
  start etcd "$ETCD_CLIENT_PORT $ETCD_PEER_PORT" etcd --name local --data-dir "$STATE/etcd" \
    --listen-client-urls "$url" --advertise-client-urls "$url" --listen-peer-urls "$peer" \
    --initial-advertise-peer-urls "$peer" --initial-cluster "local=$peer" \
    --heartbeat-interval 50 --election-timeout 500 --auto-compaction-mode periodic \
    --auto-compaction-retention 1h --logger zap --log-outputs stderr
}

start_shard() {
  local name=shard$1 link=$((SHARD_LINK_PORT + $1 - 1)) operators=$((SHARD_OPERATOR_PORT + $1 - 1))
  # In the environment, where a program of before does not mind it.
  local -x MARTLET_BACKUP_DIR=$STATE/backups
  start "$name" "$link $operators" "$MARTLET" shard --name "$name" --data-dir "$STATE/$name" \
    --link-address "127.0.0.1:$link" --operator-address "127.0.0.1:$operators" \
    --etcd "$ETCD_URL" --certificate "$CERTIFICATES/$name.pem" \
    --private-key "$CERTIFICATES/$name-key.pem" --trust-roots "$CERTIFICATES/authority.pem"
}

# Pages of one gateway go on at another: origins of all, by both names of this machine.
allowed_origins() {
  local number host origins=()
  for ((number = 0; number < GATEWAYS; number++)); do
    for host in 127.0.0.1 localhost; do
      origins+=("http://$host:$((GATEWAY_PLAIN_PORT + number))")
      origins+=("https://$host:$((GATEWAY_TLS_PORT + number))")
    done
  done
  (IFS=, && printf '%s' "${origins[*]}")
}

start_gateway() {
  local name=gateway$1 operators=$((GATEWAY_OPERATOR_PORT + $1 - 1))
  local plain=$((GATEWAY_PLAIN_PORT + $1 - 1)) tls=$((GATEWAY_TLS_PORT + $1 - 1))
  # In the environment, where a program of before does not mind it.
  local -x MARTLET_ALLOWED_ORIGINS
  MARTLET_ALLOWED_ORIGINS=$(allowed_origins)
  start "$name" "$plain $tls $operators" "$MARTLET" gateway --name "$name" \
    --plain-address "127.0.0.1:$plain" --tls-address "127.0.0.1:$tls" \
    --tls-certificate "$CERTIFICATES/public.pem" --tls-private-key "$CERTIFICATES/public-key.pem" \
    --operator-address "127.0.0.1:$operators" --etcd "$ETCD_URL" \
    --certificate "$CERTIFICATES/$name.pem" --private-key "$CERTIFICATES/$name-key.pem" \
    --trust-roots "$CERTIFICATES/authority.pem"
}

ring_is_whole() { "$MARTLET" ring status "$@" --wait 2 --log-level error >/dev/null 2>&1 9>&-; }

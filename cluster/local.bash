# A cluster on one machine: where it lies and what its processes are. Read by up, down and status.
# shellcheck shell=bash
# What is set here is used by the scripts that read it.
# shellcheck disable=SC2034

# Where it listens, all on 127.0.0.1. The n-th node of a kind takes the n-th port from these on.
# MARTLET_PORT_OFFSET moves all of them, for a second cluster beside the first.
readonly PORT_OFFSET=${MARTLET_PORT_OFFSET:-0} PORT_OFFSET_MAX=40000
if [[ ! $PORT_OFFSET =~ ^(0|[1-9][0-9]{0,4})$ ]] || ((PORT_OFFSET > PORT_OFFSET_MAX)); then
  echo "MARTLET_PORT_OFFSET is '$PORT_OFFSET'; allowed is 0 to $PORT_OFFSET_MAX" >&2
  exit 78
fi
readonly ETCD_CLIENT_PORT=$((23790 + PORT_OFFSET))
readonly ETCD_PEER_PORT=$((23800 + PORT_OFFSET))
readonly SHARD_LINK_PORT=$((7101 + PORT_OFFSET))
readonly SHARD_OPERATOR_PORT=$((7201 + PORT_OFFSET))
readonly GATEWAY_OPERATOR_PORT=$((7301 + PORT_OFFSET))
readonly GATEWAY_PLAIN_PORT=$((8080 + PORT_OFFSET))
readonly GATEWAY_TLS_PORT=$((8443 + PORT_OFFSET))

readonly NODES_MAX=16
readonly STOP_SECONDS=15

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
readonly ROOT
# Everything that a cluster leaves behind. MARTLET_STATE chooses another place.
readonly STATE=${MARTLET_STATE:-$ROOT/.martlet}
readonly RUN=$STATE/run
readonly LOG=$STATE/log
readonly CERTIFICATES=$STATE/certificates
# What the first `up` decided: EMBEDDED, SHARDS, GATEWAYS, PARTITIONS.
readonly SHAPE=$STATE/shape
readonly ETCD_URL=http://127.0.0.1:$ETCD_CLIENT_PORT
# The binary that `up` used last.
readonly MARTLET=$STATE/bin/martlet

say() { printf '%s\n' "$*"; }

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# How a path is best shown: from where the user stands, when that is short.
shown() {
  case $1 in
    "$PWD"/*) printf '%s' "${1#"$PWD"/}" ;;
    *) printf '%s' "$1" ;;
  esac
}

# Only one of up and down at a time.
lock_state() {
  mkdir -p "$STATE"
  exec 9>"$STATE/lock"
  flock -n 9 || fail "another cluster/up or cluster/down is at work in $(shown "$STATE")"
}

# Reads what `up` decided. A line that is no such setting is not executed, only refused.
read_shape() {
  EMBEDDED=0 SHARDS=0 GATEWAYS=0 PARTITIONS=0
  [[ -f $SHAPE ]] || return 1
  local key value file
  file=$(shown "$SHAPE")
  while IFS='=' read -r key value; do
    [[ $value =~ ^[0-9]+$ ]] || fail "$file cannot be read: '$key=$value'"
    case $key in
      EMBEDDED) EMBEDDED=$value ;;
      SHARDS) SHARDS=$value ;;
      GATEWAYS) GATEWAYS=$value ;;
      PARTITIONS) PARTITIONS=$value ;;
      *) fail "$file cannot be read: '$key=$value'" ;;
    esac
  done <"$SHAPE"
}

# --- Processes

# The file run/NAME holds a process's pid, its program and its command line.

# Prints the pid of NAME when it runs and is what was started: pids are used again.
pid_of() {
  local name=$1 pid program command
  [[ -f $RUN/$name ]] || return 1
  { read -r pid && read -r program && read -r command; } <"$RUN/$name" || return 1
  [[ $pid =~ ^[1-9][0-9]*$ && -d /proc/$pid ]] || return 1
  local running
  running=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
  # A program that was built anew meanwhile.
  running=${running% (deleted)}
  [[ $running == "$program" ]] || return 1
  running=$({ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null) || return 1
  [[ ${running% } == "$command" ]] || return 1
  printf '%s' "$pid"
}

is_running() { pid_of "$1" >/dev/null; }

# Whether somebody listens on a port of 127.0.0.1.
is_listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# start NAME "PORT…" COMMAND… — in the background, apart from this terminal, unless it runs already.
start() {
  local name=$1 ports=$2 port program
  shift 2
  if is_running "$name"; then return; fi
  for port in $ports; do
    if is_listening "$port"; then
      fail "$name needs port $port, which something else has taken (MARTLET_PORT_OFFSET moves all)"
    fi
  done
  program=$(readlink -f "$(command -v "$1")")
  shift
  mkdir -p "$RUN" "$LOG"
  # Without the lock, which would be held for as long as the process lives.
  setsid "$program" "$@" >>"$LOG/$name.log" 2>&1 </dev/null 9>&- &
  printf '%s\n' "$!" "$program" "$program $*" >"$RUN/$name.new"
  mv "$RUN/$name.new" "$RUN/$name"
  # Until it has become the program: before, it would be taken for one that has ended.
  while kill -0 "$!" 2>/dev/null && ! is_running "$name"; do sleep 0.01; done
}

# stop NAME… — all at once with SIGTERM, and with SIGKILL who is still there after STOP_SECONDS.
stop() {
  local name pid deadline
  local -A pids=()
  for name in "$@"; do
    if pid=$(pid_of "$name"); then
      pids[$name]=$pid
      kill -TERM "$pid" 2>/dev/null || true
    else
      rm -f "$RUN/$name"
    fi
  done
  deadline=$((SECONDS + STOP_SECONDS))
  for name in "$@"; do
    [[ -n ${pids[$name]-} ]] || continue
    while is_running "$name" && ((SECONDS < deadline)); do sleep 0.05; done
    if is_running "$name"; then
      say "$name did not stop within $STOP_SECONDS s and is killed"
      kill -KILL "${pids[$name]}" 2>/dev/null || true
      while is_running "$name"; do sleep 0.05; done
    else
      say "$name has stopped"
    fi
    rm -f "$RUN/$name"
  done
}

# The names that have a file in run/ and begin with PREFIX, in order.
recorded() {
  local file
  for file in "$RUN/$1"*; do
    [[ -f $file && $file != *.new ]] && printf '%s\n' "${file##*/}"
  done | sort -V
}

# Prints the status of an HTTP GET to 127.0.0.1, and nothing when there is no answer.
http_status() {
  local port=$1 path=$2
  {
    exec 3<>"/dev/tcp/127.0.0.1/$port" || return 0
    printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$path" >&3
    local status=''
    read -r -t 5 _ status _ <&3 || true
    exec 3>&-
    printf '%s' "$status"
  } 2>/dev/null
}

# Debian packages: what Martlet needs and why, and how it gets there. Read by cluster/up and
# Tests/run after local.bash.
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR
# shellcheck source=local.bash

readonly INSTALL_LOG=$STATE/install.log

is_installed() {
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true) == installed ]]
}

# announce WHAT — what is installed and why, or would be by root.
announce() { if ((EUID == 0)); then say "installing $1"; else say "missing: $1"; fi; }

# install PACKAGE… — with apt-get; false when that cannot be.
install() {
  if ! command -v apt-get >/dev/null; then
    say "cannot install $*: there is no apt-get"
    return 1
  fi
  if ((EUID != 0)); then
    say "to be installed by root: apt-get install $*"
    return 1
  fi
  mkdir -p "$STATE"
  local -x DEBIAN_FRONTEND=noninteractive
  local -a get=(apt-get install -y --no-install-recommends "$@")
  # The lists of packages may be old or missing: only then are they fetched.
  if "${get[@]}" >"$INSTALL_LOG" 2>&1 9>&- ||
    { apt-get update && "${get[@]}"; } >>"$INSTALL_LOG" 2>&1 9>&-; then
    return 0
  fi
  say "apt-get install $* failed; $(shown "$INSTALL_LOG") says why"
  return 1
}

# install_missing PACKAGE PURPOSE … — in pairs.
install_missing() {
  local missing=() reasons=''
  while (($# > 0)); do
    if ! is_installed "$1"; then
      missing+=("$1")
      reasons+=", $1 ($2)"
    fi
    shift 2
  done
  ((${#missing[@]} > 0)) || return 0
  announce "${reasons:2}"
  install "${missing[@]}"
}

install_openssl() { install_missing openssl certificates || exit 1; }

install_libraries() {
  install_missing libnghttp2-dev HTTP/2 libssl-dev 'TLS and signatures' librocksdb-dev storage \
    libargon2-dev 'password hashes' openssl certificates || exit 1
}

# What the fault tests build and use: a disk that forgets, a link that delays.
install_fault_tools() {
  install_missing libfuse3-dev 'a disk that forgets' fuse3 'a disk that forgets' \
    iproute2 'network namespaces' nftables 'dropping packets' libfaketime 'clocks that jump'
}

# install_off PACKAGE SERVICE PROGRAM PURPOSE — Debian's package starts and enables a service of its own.
# Only one that this script has brought is stopped again; what somebody else runs is none of its business.
install_off() {
  local package=$1 service=$2 program=$3
  if command -v "$program" >/dev/null; then return 0; fi
  announce "$package ($4; its system service stays off)"
  install "$package" || return 1
  if [[ -d /run/systemd/system ]]; then
    systemctl disable --now "$service.service" >>"$INSTALL_LOG" 2>&1 9>&- || true
  elif [[ -x /etc/init.d/$service ]]; then
    { service "$service" stop; update-rc.d "$service" disable; } >>"$INSTALL_LOG" 2>&1 9>&- || true
  fi
}

install_etcd() { install_off etcd-server etcd etcd 'agreement on who leads'; }

# What the load generator's comparisons are with.
install_mosquitto() { install_off mosquitto mosquitto mosquitto 'a broker to compare with'; }

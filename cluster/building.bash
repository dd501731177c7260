# How programs are built. Read after local.bash.
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR
# shellcheck source=local.bash

# A release of the server. With Swift's libraries inside, the program runs where Swift is not. Modules
# are optimised across each other, for a message passes through a dozen of them. That no two parts
# of a program change one thing at once is checked by every debug build, and so by all tests.
readonly RELEASE=(-c release --product martlet --scratch-path .build-release --static-swift-stdlib
  -Xswiftc -cross-module-optimization -Xswiftc -enforce-exclusivity=unchecked)

need_swift() {
  command -v swift >/dev/null ||
    fail "there is no swift; https://swift.org/install has it (6.2 or newer)"
}

# is_newest PROGRAM — nothing that it is made of has changed since it was built.
is_newest() {
  [[ -x $1 ]] && [[ -z $(find "$ROOT/Package.swift" "$ROOT/Sources" -newer "$1" -print -quit) ]]
}

# build_martlet [BINARY] — makes $MARTLET: a link to BINARY, or to a release that is built now.
build_martlet() {
  local binary=${1-}
  mkdir -p "$STATE/bin"
  if [[ -z $binary ]] && is_newest "$ROOT/.build-release/release/martlet"; then
    binary=$ROOT/.build-release/release/martlet
  elif [[ -z $binary ]]; then
    need_swift
    say "building martlet (release; some minutes the first time)"
    (cd "$ROOT" && swift build "${RELEASE[@]}") 9>&- || fail "the build failed"
    binary=$ROOT/.build-release/release/martlet
  fi
  ln -sfn "$(readlink -f "$binary")" "$MARTLET"
}

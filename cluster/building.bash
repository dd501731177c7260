# How programs are built. Read after local.bash.
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR
# shellcheck source=local.bash

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
    # With Swift's libraries inside, the program runs where Swift is not, and about a tenth faster.
    (cd "$ROOT" && swift build -c release --product martlet --scratch-path .build-release \
      --static-swift-stdlib) 9>&- || fail "the build failed"
    binary=$ROOT/.build-release/release/martlet
  fi
  ln -sfn "$(readlink -f "$binary")" "$MARTLET"
}

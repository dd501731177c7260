#!/bin/sh
# Regenerates the Swift of the schema. Needs protoc (Debian: protobuf-compiler).
#
# protoc-gen-swift comes from the swift-protobuf that the package resolves, built once into
# .build-protoc; PROTOC_GEN_SWIFT names another one.
#
# The messages of etcd are used by the product. Those of Martlet are coded by hand; their generated
# form is the twin that the tests hold the hand-written code to, and lives with the tests.
set -eu

proto=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$proto/../../.." && pwd)

plugin=${PROTOC_GEN_SWIFT:-}
if [ -z "$plugin" ]; then
  build="swift build --package-path $root --scratch-path $root/.build-protoc"
  $build --product protoc-gen-swift
  plugin=$($build --show-bin-path)/protoc-gen-swift
fi

generate() { # destination visibility file...
  destination=$1
  visibility=$2
  shift 2
  mkdir -p "$destination"
  rm -f "$destination"/*.pb.swift
  protoc --proto_path="$proto" --plugin=protoc-gen-swift="$plugin" --swift_out="$destination" \
    --swift_opt=Visibility="$visibility" --swift_opt=UseAccessLevelOnImports=true \
    --swift_opt=FileNaming=PathToUnderscores "$@"
}

generate "$root/Sources/Wire/Generated" Package etcd/kv.proto etcd/rpc.proto
generate "$root/Tests/WireTests/Generated" Internal \
  martlet/v1/chat.proto martlet/v1/cluster.proto martlet/v1/node.proto martlet/v1/client.proto

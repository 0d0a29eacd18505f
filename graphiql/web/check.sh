#!/bin/sh
# Rebuilds the page from a clean install and compares it with ../dist. Names
# every file that differs and exits non-zero. The files are compared
# decompressed, because another zlib may compress the same content otherwise.
set -eu
cd "$(dirname "$0")"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

npm ci
node build.mjs "$tmp/rebuilt"
cp -R ../dist "$tmp/committed"
find "$tmp/rebuilt" "$tmp/committed" -name '*.gz' -exec gunzip {} +

cd "$tmp"
diff -rq committed rebuilt
echo "graphiql/dist is up to date"

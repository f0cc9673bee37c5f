#!/bin/sh
# build.sh HEADERS OUT.so - builds the backend against an engine's public ggml headers, unless OUT is newer than its sources.
set -eu
headers=$1
out=$2
here=$(dirname "$0")

if [ -e "$out" ] && [ -z "$(find "$here" -name '*.[ch]' -newer "$out")" ]; then
    exit 0
fi
# Under another name first: two builds at once, or one that is interrupted, leave no broken file.
# The symbols of ggml are found when the engine loads it.
${CC:-cc} -std=c17 -D_GNU_SOURCE -O2 -Wall -Wextra -shared -fPIC -fvisibility=hidden -isystem "$headers" \
    -o "$out.$$" "$here"/*.c -pthread
mv -f "$out.$$" "$out"

#!/bin/sh
# get-engine.sh DEST [SUITE] - a real llama.cpp in DEST, from the packages of a newer Debian suite (forky).
#
# Nothing is installed and root is not needed: the packages are fetched through the mirrors that apt is already configured for,
# checked by apt against Debian's keys, unpacked, and made to run with the libc they bring.  What is left in DEST:
#   bin/      llama-server, llama-fit-params, llama-quantize, ... and the CPU backends, which are searched beside the program;
#             test-llama-archs, which writes a small model of every architecture
#   lib/      the libraries, libc included
#   include/  ggml's public headers, for tools/pretend-gpu
# Does nothing when DEST holds an engine that runs.  DEST appears whole or not at all.
# Exit: 0 it is there; 77 it cannot be had here (a sentence says why); 1 something else is wrong; 2 usage.
set -eu

PACKAGES='llama.cpp-tools llama.cpp-tools-extra llama.cpp-tests libllama0 libggml0 libggml0-backend-rpc libggml-dev
libc6 libgcc-s1 libstdc++6 libgomp1 libssl3t64 libzstd1 zlib1g patchelf'
TRIPLET=x86_64-linux-gnu
LOADER=ld-linux-x86-64.so.2
MARKER=.unpacked-by-get-engine
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'get-engine: %s\n' "$*" >&2; }
cannot() {
    say "$*"
    exit 77
}

version_of() { "$1/bin/llama-server" --version 2>&1 | sed -n '/^version/p'; }

check_machine() {
    for program in apt-get dpkg-deb; do
        command -v $program >/dev/null ||
            cannot "this is not Debian ($program is missing): put a llama-server of your own on the PATH instead"
    done
    [ "$(dpkg --print-architecture)" = amd64 ] ||
        cannot "only x86-64 is known here, this is $(dpkg --print-architecture): put a llama-server of your own on the PATH instead"
    [ -e "$KEYS" ] || cannot "$KEYS is missing: install debian-archive-keyring"
}

# The mirrors of apt's configuration, whichever form its files have; apt itself reads them.
mirrors() {
    apt-get --print-uris update 2>/dev/null |
        sed -n "s|^'\\([^']*\\)/dists/[^']*/InRelease'.*|\\1|p" | grep -v -- '-security$' | awk '!seen[$0]++'
}

# An apt of our own in $work/apt: own lists, own cache, one source, no installed packages.
configure_apt() { # MIRROR SUITE
    rm -rf "$work/apt"
    mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/apt/empty"
    : >"$work/apt/status"
    echo "deb [signed-by=$KEYS] $1 $2 main" >"$work/apt/sources.list"
    cat >"$work/apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$work/apt/sources.list";
Dir::Etc::sourceparts "$work/apt/empty";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$work/apt/empty";
Dir::State "$work/apt";
Dir::State::status "$work/apt/status";
Dir::State::Lists "$work/apt/lists";
Dir::Cache "$work/apt/cache";
Dir::Cache::archives "$work/apt/cache/archives";
Acquire::Languages "none";
Acquire::Retries "2";
APT::Sandbox::User "";
CONF
}

# A mirror that cannot be read is only a warning to apt-get update; the download tells.
# shellcheck disable=SC2086 # a list of names
download() {
    (cd "$work/apt/cache/archives" && export APT_CONFIG="$work/apt/apt.conf" &&
        apt-get -qq update && apt-get -qq download $PACKAGES) >"$work/apt.log" 2>&1
}

fetch_packages() { # SUITE: the first mirror that has them
    for mirror in $(mirrors); do
        configure_apt "$mirror" "$1"
        if download; then
            return
        fi
        # A snapshot, or a mirror that is behind: its index is signed by Debian all the same.
        if grep -q 'is expired' "$work/apt.log"; then
            say "the mirror's index is old; its signature is still checked, its age is not"
            echo 'Acquire::Check-Valid-Until "false";' >>"$work/apt/apt.conf"
            if download; then
                return
            fi
        fi
    done
    [ ! -e "$work/apt.log" ] || grep -E '^[EW]:' "$work/apt.log" | head -n 3 >&2 || true
    cannot "no mirror that apt knows has Debian's $1 with llama.cpp (offline?): put a llama-server of your own on the PATH instead"
}

unpack() {
    for package in "$work"/apt/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$work/root"
    done
    from=$work/root/usr/lib/$TRIPLET
    mkdir -p "$work/new/bin" "$work/new/lib" "$work/new/include"
    cp -P "$from"/*.so* "$from"/llama/*.so* "$work/new/lib/"
    cp "$from"/ggml/backends0/*.so "$work/root"/usr/bin/llama-* \
        "$work/root/usr/libexec/$TRIPLET/llama/bin/ggml-rpc-server" \
        "$work/root/usr/libexec/$TRIPLET/llama.cpp-tests/test-llama-archs" "$work/new/bin/"
    cp "$work"/root/usr/include/ggml*.h "$work/new/include/"
}

# Programs and libraries look beside themselves, not where Debian would have installed them.
# shellcheck disable=SC2016 # $ORIGIN is for the loader, not for this shell
make_runnable() { # DEST
    patch="$from/$LOADER --library-path $from $work/root/usr/bin/patchelf --force-rpath"
    cd "$work/new"
    for file in bin/llama-* bin/ggml-rpc-server bin/test-llama-archs; do
        $patch --set-interpreter "$1/lib/$LOADER" --set-rpath '$ORIGIN/../lib' "$file"
    done
    for file in bin/*.so lib/libggml*.so* lib/libllama*.so* lib/libmtmd*.so*; do
        [ -L "$file" ] || $patch --set-rpath '$ORIGIN:$ORIGIN/../lib' "$file"
    done
    cd - >/dev/null
    : >"$work/new/$MARKER"
}

case $# in 1 | 2) ;; *)
    sed -n '2s/^# //p' "$0" >&2
    exit 2
    ;;
esac
suite=${2:-forky}
mkdir -p "$(dirname "$1")"
dest=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
case $dest in *[[:space:]\"]*)
    say "the path $dest holds a space or a quote, which apt's configuration cannot take"
    exit 1
    ;;
esac

# An older version of this script brought less.
complete() { [ -e "$1/$MARKER" ] && [ -x "$1/bin/test-llama-archs" ]; }

if complete "$dest" && version=$(version_of "$dest") && [ -n "$version" ]; then
    echo "$version"
    exit 0
fi
# A folder that was moved does not run any more (the loader's path is in the programs) and is made again.
if [ -e "$dest" ] && [ ! -e "$dest/$MARKER" ] && ! rmdir "$dest" 2>/dev/null; then
    say "$dest exists and was not made by this script; choose another folder or remove it"
    exit 1
fi

check_machine
work=$(mktemp -d "$dest.new.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
fetch_packages "$suite"
unpack
make_runnable "$dest"
if ! complete "$dest" || [ -z "$(version_of "$dest" 2>/dev/null)" ]; then # else another one was faster: as good
    rm -rf "$dest"
    mv -T "$work/new" "$dest"
fi
version=$(version_of "$dest")
if [ -z "$version" ]; then
    "$dest/bin/llama-server" --version >&2 || true
    rm -rf "$dest"
    cannot "llama.cpp of Debian's $suite does not run on this machine"
fi
echo "$version"

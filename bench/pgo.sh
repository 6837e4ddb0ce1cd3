#!/usr/bin/env bash
# Builds the gateway with profile-guided optimisation: a build that counts is put through
# `bench peers`, and a second one is compiled by what was counted. The result is target/pgo/gateway.
#
#   bench/pgo.sh            builds it; PGO_BUILD is what builds in place of `cargo build`
#   bench/pgo.sh --tool     prints the path of the llvm-profdata that it would use
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

readonly folder=$PWD/target/pgo
readonly counts=$folder/counts
readonly profile=$folder/gateway.profdata
host=$(rustc -vV | sed -n 's/^host: //p')
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')

say() {
    printf '%s\n' "$*" >&2
}

# Prints the path of llvm-profdata: rustc's own, or the newest that is installed.
profdata() {
    local found
    found=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
    if [ ! -x "$found" ]; then
        found=$(compgen -c llvm-profdata | sort -u -V | tail -n 1 || true)
    fi
    if [ -z "$found" ]; then
        say "llvm-profdata is missing; rustc has LLVM $llvm. Install it:"
        say "  rustup component add llvm-tools      (with rustup)"
        say "  apt-get install llvm-19              (Debian; any version that reads what $llvm writes)"
        return 1
    fi
    printf '%s\n' "$found"
}

# build FOLDER FLAGS...: with a target of its own, the flags are not for build scripts and macros.
# In one piece: 6 % fewer instructions for some minutes. What was counted is found again by names that
# the compiler makes of this too.
build() {
    local into=$1
    shift
    # shellcheck disable=SC2086 # PGO_BUILD is words
    CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
        RUSTFLAGS="${RUSTFLAGS:-} $*" ${PGO_BUILD:-cargo build} --release --locked -p gateway \
        --target "$host" --target-dir "$into"
}

tool=$(profdata)
case ${1:-} in
    '') ;;
    --tool)
        printf '%s\n' "$tool"
        exit
        ;;
    *)
        say "pgo.sh: no argument, or --tool, not $1"
        exit 2
        ;;
esac
rm -rf -- "$counts" "$profile"
mkdir -p -- "$counts"

say '1 of 4: a gateway that counts (as long as a first build)'
build "$folder/counting" -Cprofile-generate="$counts"

say '2 of 4: its load'
# The kinds of request that it is to be good at, and what it refuses on the way.
cargo run --release --locked -p bench -- peers --gateway "$folder/counting/$host/release/gateway" \
    --only gateway,gateway-open,gateway-es256,gateway-rs256-uncached,gateway-100-endpoints \
    --baseline gateway --scenario 1k,100k,upload-100k,chunked,headers-40 \
    --rounds 1 --duration 1s --warmup 0s

say '3 of 4: what was counted'
if ! "$tool" merge --sparse --output="$profile" "$counts"; then
    say "$tool cannot read what rustc's LLVM $llvm has counted: install a newer one (see above)."
    exit 1
fi

say '4 of 4: the gateway'
build "$folder/guided" -Cprofile-use="$profile"
install -m 0755 "$folder/guided/$host/release/gateway" "$folder/gateway"
say "Done: $folder/gateway. To compare: target/release/bench peers --gateway $folder/gateway"

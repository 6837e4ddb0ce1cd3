#!/usr/bin/env bash
# Tests of copilotw.sh. `./copilotw.sh test` runs them, and so may you.
#
# Most run with a stub for cargo and for the gateway, which say how they were
# called; the last one mints a token with the real gateway.
# shellcheck disable=SC2016 # backticks in what the script says are not commands
set -euo pipefail
unset COPILOTW_PROFILE COPILOTW_DATA

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
script=$root/copilotw.sh
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# shellcheck source=tests/checks.sh
. "$root/tests/checks.sh"

# refused NAME TEXT ARGUMENT...: exit 2, TEXT on standard error, nothing on standard output.
refused() {
    local name=$1 text=$2
    shift 2
    run "$@"
    check "$name: exit code" [ "$status" -eq 2 ]
    check "$name: silent on standard output" [ -z "$out" ]
    check "$name: says why" contains "$err" "$text"
}

# ran NAME TEXT ARGUMENT...: exit 0, TEXT on standard output.
ran() {
    local name=$1 text=$2
    shift 2
    run "$@"
    check "$name: exit code" [ "$status" -eq 0 ]
    check "$name: standard output" contains "$out" "$text"
}

test_usage() {
    local command
    refused 'no command' 'Usage:'
    refused 'a typing error gets a near miss' 'did you mean `local`?' lcoal
    refused 'a near miss within help' 'did you mean `token`?' help tokne
    refused 'an unknown command gets the list' 'the commands are: local token test init' frobnicate
    refused 'a command with spaces is none' 'there is no command' 'local token'
    ran 'help' 'Commands:' help
    ran '--help' 'Commands:' --help
    for command in local token test init deploy public status logs delete doctor help; do
        ran "help $command" "Usage: ./copilotw.sh $command" help "$command"
        ran "$command --help" "Usage: ./copilotw.sh $command" "$command" --help
        run help
        check "help lists $command" contains "$out" "  $command "
    done
}

test_options() {
    local value
    for value in '' 0 65536 99999999999999999999 08 80x -1 ' 80'; do
        refused "--port '$value'" '--port must be a whole number' local --port "$value"
    done
    refused '--replicas 17' 'from 1 to 16' local --replicas 17
    refused 'a value is missing' '--admin-port needs a value' local --admin-port
    refused 'an unknown option of local' 'local does not know `--prot`' local --prot 80
    refused 'the same port twice' 'must differ' local --port 7000 --admin-port 7000
    refused 'an unknown option of token' 'token does not know `--subject`' token --subject me
    refused 'a missing value of token' '--scope needs a value' token --scope
    refused 'test takes no options' 'test does not know `--fast`' test --fast
}

# A cargo that says on standard output how it was called, and a gateway that does the same.
make_stubs() {
    mkdir -p "$scratch/bin" "$scratch/target/release"
    cat >"$scratch/bin/cargo" <<'STUB'
#!/bin/sh
echo "cargo $*"
STUB
    cat >"$scratch/target/release/gateway" <<'STUB'
#!/bin/sh
echo gateway
printf '<%s>\n' "$@"
STUB
    ln -s "$(command -v true)" "$scratch/bin/cc"
    chmod +x "$scratch/bin/cargo" "$scratch/target/release/gateway"
}

test_with_stubs() {
    local PATH=$scratch/bin:$PATH CARGO_TARGET_DIR=$scratch/target
    export PATH CARGO_TARGET_DIR

    ran 'local by default' 'gateway' local
    check 'local builds what it runs' contains "$err" \
        'cargo build --locked --profile release -p gateway -p users-svc -p products-svc'
    check 'cargo is silent on standard output' [ "${out%%$'\n'*}" = gateway ]
    ran 'local listens on loopback' $'<dev>\n<--listen>\n<127.0.0.1:8080>\n<--admin>\n<127.0.0.1:9090>' local
    check 'two replicas' contains "$out" $'<--replicas>\n<2>'
    check 'data in the clone' contains "$out" "<$root/.local>"
    check 'the pasted token command knows the target folder' contains "$out" \
        "<CARGO_TARGET_DIR=$CARGO_TARGET_DIR $root/copilotw.sh token>"
    COPILOTW_PROFILE=release COPILOTW_DATA='my data' ran 'local elsewhere' "<$root/my data>" local
    check 'the pasted token command knows profile and data' contains "$out" \
        'COPILOTW_PROFILE=release COPILOTW_DATA=my\ data '
    ran 'local with options' $'<127.0.0.1:1234>\n<--admin>\n<127.0.0.1:65535>\n<--replicas>\n<16>' \
        local --port 1234 --admin-port=65535 --replicas 16
    ran 'local with internal identity' '<--internal-identity>' local --internal-identity

    run token --sub '--a b' --scope '' --ttl=5m --audience x
    check 'token hands its options on' [ "$out" = "$(printf '%s\n' gateway '<token>' '<--data-dir>' \
        "<$root/.local>" '<--sub=--a b>' '<--scope=>' '<--ttl=5m>' '<--audience=x>')" ]
    check 'a gateway that is there is not built' [ -z "$err" ]

    cd "$scratch"
    ran 'local from another directory' "<$root/.local>" local
    cd "$root"

    rm "$scratch/bin/cc" "$scratch/target/release/gateway"
    printf '#!/bin/sh\nexit 101\n' >"$scratch/bin/cargo"
    ln -s "$(command -v true)" "$scratch/bin/cc"
    run token
    check 'a failed build: exit code' [ "$status" -eq 1 ]
    check 'a failed build: silent on standard output' [ -z "$out" ]
    check 'a failed build is said' contains "$err" 'the build failed'
}

test_without_rust() {
    local tool
    mkdir -p "$scratch/path"
    for tool in bash dirname cat; do
        ln -s "$(command -v "$tool")" "$scratch/path/$tool"
    done
    PATH=$scratch/path CARGO_TARGET_DIR=$scratch/nothing run local
    check 'no cargo: exit code' [ "$status" -eq 1 ]
    check 'no cargo: the remedy' contains "$err" 'https://rustup.rs'
}

test_real_token() {
    local part='[A-Za-z0-9_-][A-Za-z0-9_-]*'
    COPILOTW_PROFILE=dev COPILOTW_DATA=$scratch/data run token --ttl 1m
    check 'a token: exit code' [ "$status" -eq 0 ]
    check 'a token is three parts on one line' \
        [ "$(grep -c "^$part\.$part\.$part\$" "$scratch/out")/$(wc -l <"$scratch/out" | tr -d ' ')" = 1/1 ]
    COPILOTW_PROFILE=dev COPILOTW_DATA=$scratch/data run token --ttl 25h
    check 'a life out of bounds: exit code' [ "$status" -ne 0 ]
    check 'a life out of bounds: silent on standard output' [ -z "$out" ]
    check 'a life out of bounds is said' contains "$err" '24h'
}

make_stubs
test_usage
test_options
test_with_stubs
test_without_rust
test_real_token

printf 'copilotw.sh: %s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]

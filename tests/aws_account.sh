# shellcheck shell=bash
# Sourced by tests/aws.sh: clones, accounts, running the script, checking what it did.
# shellcheck disable=SC2154 # tests/aws.sh sets root, scratch and work

# clone DIRECTORY: as much of this clone as a deployment needs, so that no test writes into it.
clone() {
    mkdir -p "$1/copilot/cloudformation"
    cp "$root/copilotw.sh" "$1"
    cp -R "$root/copilot/." "$1/copilot"
    rm -f "$1/copilot/.workspace"
    : >>"$1/copilot/cloudformation/repositories.yaml"
    [ -s "$1/copilot/cloudformation/system.yaml" ] ||
        printf 'Parameters:\n  DomainName: {Type: String}\nResources:\n' >"$1/copilot/cloudformation/system.yaml"
    echo one >"$1/content"
    git -C "$1" init --quiet
    git -C "$1" add --all
    git -C "$1" -c user.name=test -c user.email=test@example.com commit --quiet --message test
}

# account DIRECTORY: a new one, and a clone that knows nothing of it.
account() {
    export STUB_STATE=$1
    rm -rf "$1"
    mkdir -p "$1"/{stacks,tags,parameters,roles,sets,outputs,values,faults,fate}
    echo 0 >"$1/count"
    echo 1000 >"$1/clock"
    echo 20261123 >"$1/today"
    rm -f "$work/copilot/.workspace"
    echo one >"$work/content"
}

new_account() {
    account "$scratch/account"
}

lacks() {
    ! contains "$1" "$2"
}

# called TEXT: whether a call had it; times TEXT: how many did.
called() {
    grep -qF -- "$1" "$STUB_STATE/calls"
}

not_called() {
    ! called "$1"
}

times() {
    grep -cF -- "$1" "$STUB_STATE/calls" || true
}

# ends NAME STATUS TEXT ARGUMENT...: the exit code, and TEXT on standard error.
ends() {
    local name=$1 code=$2 text=$3
    shift 3
    run "$@"
    check "$name: exit code $code" [ "$status" -eq "$code" ]
    check "$name: says" contains "$err" "$text"
    [ "$code" -eq 0 ] || check "$name: silent on standard output" [ -z "$out" ]
}

set_stack() {
    echo "$2" >"$STUB_STATE/stacks/$1"
    echo "${3:-app}" >"$STUB_STATE/tags/$1"
}

stack_is() {
    [ "$(cat "$STUB_STATE/stacks/$1" 2>/dev/null)" = "$2" ]
}

# fault NAME TIMES KIND
fault() {
    echo "$2 $3" >"$STUB_STATE/faults/$1"
}

copilot_stands() {
    local name
    for name in infrastructure-roles test test-users test-products test-gateway; do
        case $(cat "$STUB_STATE/stacks/app-$name" 2>/dev/null) in
            CREATE_COMPLETE | UPDATE_COMPLETE) ;;
            *) return 1 ;;
        esac
    done
    [ -e "$STUB_STATE/parameters/,copilot,applications,app,environments,test" ]
}

cloudformation_stands() {
    case $(cat "$STUB_STATE/stacks/app-test-repositories" "$STUB_STATE/stacks/app-test" | tr '\n' ' ') in
        CREATE_COMPLETE\ CREATE_COMPLETE\ | CREATE_COMPLETE\ UPDATE_COMPLETE\ ) ;;
        *) return 1 ;;
    esac
    grep -q '^UsersImage=123456789012.dkr.ecr.eu-central-1.amazonaws.com/app-test/Users:' "$STUB_STATE/values/app-test" &&
        grep -q '^JwtIssuer=https://issuer.example/$' "$STUB_STATE/values/app-test"
}

nothing_stands() {
    [ -z "$(find "$STUB_STATE/stacks" "$STUB_STATE/parameters" "$STUB_STATE/sets" "$STUB_STATE/roles" -type f)" ]
}

# routes JSON: what `copilot svc show` says of them.
routes() {
    printf '{"service":"gateway","type":"Load Balanced Web Service","application":"app","configurations":[{"environment":"test","port":"8080"}],"routes":%s,"serviceDiscovery":null,"variables":[{"environment":"test","name":"X","value":"http://wrong.example","container":"gateway"}]}\n' \
        "$1" >"$STUB_STATE/routes"
}

# answer TEXT COMMAND...: runs it on a terminal, where TEXT is typed. Leaves $status and $out.
answer() {
    status=0
    out=$(STUB_PATH=$PATH python3 -c 'import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    # A python3 that is a wrapper may have put its own folders first.
    os.environ["PATH"] = os.environ["STUB_PATH"]
    os.execvp(sys.argv[2], sys.argv[2:])
os.write(terminal, sys.argv[1].encode())
while True:
    try:
        some = os.read(terminal, 4096)
    except OSError:
        break
    if not some:
        break
    sys.stdout.buffer.write(some)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))' "$@") || status=$?
    err=''
}

#!/usr/bin/env bash
# Tests of the whole system, run as a person runs it. `./copilotw.sh test` runs
# them, and so may you.
#
# Everything is real: `./copilotw.sh local` on free ports, curl, signals. Only
# databases and keys are the test's own. A wait ends when what it waits for has
# come, or fails at its limit.
set -euo pipefail

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
scratch=$(mktemp -d)
readonly root scratch script=$root/copilotw.sh
# Seconds for anything on a busy machine; for a build from nothing; for a stop.
readonly PATIENCE=60 BUILD_PATIENCE=1800 STOP_LIMIT=5
# Requests while an instance dies, and how many of them are answered before it does.
readonly LOAD_REQUESTS=6000 LOAD_BEFORE=1000
readonly USERS='[{"id":1,"name":"Tom","age":32},{"id":2,"name":"Jim","age":55},{"id":3,"name":"Luna","age":19}]'
readonly PRODUCTS='[{"id":1,"name":"Auto","store":20,"description":"Ganz schnell"},{"id":2,"name":"Computer","store":42,"description":"Ganz schnell"},{"id":3,"name":"KVM Switch","store":52,"description":"Ganz teuer"}]'

export COPILOTW_PROFILE=${COPILOTW_PROFILE:-dev} COPILOTW_DATA=$scratch/data
unset LOG GATEWAY_LOG
passed=0
failed=0
# Jobs under way, each with a process group of its own, and services to look after.
jobs_left=()
services_left=()

clean_up() {
    local status=$? pid
    trap - EXIT
    for pid in ${jobs_left[@]+"${jobs_left[@]}"}; do
        kill -KILL -- "-$pid" 2>/dev/null || true
    done
    for pid in ${services_left[@]+"${services_left[@]}"}; do
        if is_service "$pid"; then kill -KILL "$pid" 2>/dev/null || true; fi
    done
    rm -rf "$scratch"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ok NAME COMMAND...
ok() {
    local name=$1 detail
    shift
    if "$@"; then
        passed=$((passed + 1))
        printf 'ok %s - %s\n' "$((passed + failed))" "$name"
    else
        failed=$((failed + 1))
        detail=${*//$'\n'/ }
        printf 'not ok %s - %s\n# %s\n' "$((passed + failed))" "$name" "${detail:0:500}"
    fi
}

give_up() {
    printf 'Bail out! %s\n' "$1"
    sed 's/^/# /' "$scratch/err"
    exit 1
}

not() {
    ! "$@"
}

equal() {
    [ "$1" = "$2" ]
}

contains() {
    case $1 in
        *"$2"*) return 0 ;;
        *) return 1 ;;
    esac
}

file_has() {
    grep -q -e "$2" "$1"
}

# within SECONDS COMMAND...
within() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

# background OUT ERR COMMAND...: leaves $job. With a process group of its own, in which SIGINT
# is heard as it is from a terminal.
background() {
    local out=$1 err=$2
    shift 2
    # Here, because the job may be slow to do it, and what an earlier one said is of no use.
    : >"$out"
    : >"$err"
    set -m
    "$@" >>"$out" 2>>"$err" </dev/null &
    job=$!
    set +m
    jobs_left+=("$job")
}

is_running() {
    kill -0 "$1" 2>/dev/null
}

# ended SECONDS PID: leaves $status.
ended() {
    within "$1" not is_running "$2" || return 1
    status=0
    wait "$2" 2>/dev/null || status=$?
}

# Our services in the list of processes: PID and name.
services() {
    ps -A -o pid= -o ppid= -o args= | awk -v parent="$1" '
        $2 == parent && $3 ~ /\/(users|products)-svc$/ { sub(".*/", "", $3); print $1, $3 }'
}

# pids_of PARENT NAME
pids_of() {
    services "$1" | awk -v name="$2" '$2 == name { print $1 }'
}

is_service() {
    ps -p "$1" -o args= 2>/dev/null | grep -q -e '/users-svc ' -e '/products-svc '
}

are_services_gone() {
    local pid
    for pid in ${services_left[@]+"${services_left[@]}"}; do
        if is_service "$pid"; then return 1; fi
    done
}

# free_port FROM: one of 5000, below those that systems give to outgoing connections.
free_port() {
    local port
    while :; do
        port=$(($1 + RANDOM % 5000))
        # Nobody answers.
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return
        fi
    done
}

has_banner_or_ended() {
    file_has "$scratch/err" 'Ctrl-C stops everything' || ! is_running "$system"
}

# start OPTION...: leaves $system, its process.
start() {
    background "$scratch/out" "$scratch/err" "$script" local \
        --port "$port" --admin-port "$admin_port" "$@"
    system=$job
    within "$BUILD_PATIENCE" has_banner_or_ended || give_up 'the system does not come up'
    is_running "$system" || give_up 'the system ended at its start'
    look_after
}

# Remembers the services that run now.
look_after() {
    local pid _name
    while read -r pid _name; do
        services_left+=("$pid")
    done < <(services "$system")
}

# ask PATH CURL-OPTION...: leaves $status, $head and $body.
ask() {
    local path=$1
    shift
    : >"$scratch/body"
    : >"$scratch/head"
    status=$(curl -sS -m 20 -o "$scratch/body" -D "$scratch/head" -w '%{http_code}' "$@" "$url$path") || true
    head=$(tr -d '\r' <"$scratch/head")
    body=$(cat "$scratch/body")
}

# with TOKEN PATH CURL-OPTION...
with() {
    local bearer=$1 path=$2
    shift 2
    ask "$path" -H "authorization: Bearer $bearer" "$@"
}

header() {
    printf '%s\n' "$head" | sed -n "s/^$1: //p"
}

# answers NAME STATUS BODY: the answer asked for last.
answers() {
    ok "$1" equal "$status $body" "$2 $3"
}

# refused NAME STATUS CODE: the same, a problem with a code.
refused() {
    ok "$1: $2 $3" equal "$status $(code)" "$2 $3"
    ok "$1: problem+json with the request's id" \
        equal "$(header content-type) $(header x-request-id)" "application/problem+json $(member request_id)"
    reasons+=" $3"
}

# The text of a member of the body.
member() {
    printf '%s\n' "$body" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

code() {
    member code
}

base64url() {
    openssl base64 -A | tr '+/' '-_' | tr -d '='
}

# claims ISSUER NOT-BEFORE EXPIRY, the times as seconds from now.
claims() {
    local now
    now=$(date +%s)
    printf '{"iss":"%s","sub":"dev-user","aud":"api","scope":"users:read","nbf":%s,"exp":%s}' \
        "$1" "$((now + $2))" "$((now + $3))" | base64url
}

# signed HEAD CLAIMS: with the development issuer's own key.
signed() {
    printf '%s.%s.%s' "$1" "$2" \
        "$(printf '%s.%s' "$1" "$2" | openssl dgst -sha256 -sign "$COPILOTW_DATA/keys/rs256.pem" -binary | base64url)"
}

test_banner() {
    local line
    ok 'two instances of each service' equal "$(services "$system" | wc -l | tr -d ' ')" 4
    line=$(grep '^ *curl ' "$scratch/err")
    # In a terminal that knows nothing of this one.
    ok 'the line of the banner gives the users when pasted elsewhere' equal "$USERS" \
        "$(cd / && env -i PATH="$PATH" HOME="$HOME" bash -c "${line/curl /curl -sS }")"
}

test_answers() {
    local path rows='' pages=0
    with "$token" /users
    answers 'GET /users' 200 "$USERS"
    ok 'GET /users: JSON' equal "$(header content-type)" application/json
    with "$token" /products
    answers 'GET /products' 200 "$PRODUCTS"
    with "$token" /users/2
    answers 'GET /users/2' 200 '{"id":2,"name":"Jim","age":55}'
    with "$token" /users/99
    ok 'a user that is not there: 404' equal "$status $(code)" '404 not_found'

    path='/users?limit=1'
    while [ -n "$path" ] && [ "$pages" -lt 10 ]; do
        with "$token" "$path"
        rows+=$body
        pages=$((pages + 1))
        path=$(header link | sed -n 's/^<\(.*\)>; rel="next"$/\1/p')
    done
    ok 'one row a page, the next by the Link header' equal "$pages ${rows//']['/,}" "3 $USERS"
}

test_routing() {
    ask /users
    refused 'no token' 401 jwt_missing
    ok 'no token: the challenge' contains "$(header www-authenticate)" Bearer
    with "$token" /users -X POST -d '{}'
    refused POST 405 method_not_allowed
    ok 'POST: what is allowed' contains "$(header allow)" GET
    with "$token" /nowhere
    refused 'an unknown path with a token' 404 no_route
    ask /nowhere
    refused 'an unknown path without a token' 404 no_route
}

test_tokens() {
    local issuer=https://dev.gateway.local/ first good forged
    # Names key and algorithm as the issuer does.
    first=${token%%.*}
    good=$(claims "$issuer" 0 600)
    with "$(signed "$first" "$good")" /users
    answers 'the tokens made here are as good as those of the issuer' 200 "$USERS"
    with "$(signed "$first" "$(claims "$issuer" -600 -30)")" /users
    ok 'expired within the clock skew' equal "$status" 200

    with "$(signed "$first" "$(claims "$issuer" -600 -90)")" /users
    refused expired 401 jwt_expired
    ok 'expired: the challenge' contains "$(header www-authenticate)" 'error="invalid_token"'
    with "$(signed "$first" "$(claims "$issuer" 90 600)")" /users
    refused 'not valid yet' 401 jwt_not_yet_valid
    with "$(signed "$first" "$(claims https://elsewhere.example/ 0 600)")" /users
    refused 'another issuer' 401 jwt_issuer_mismatch
    with "$("$script" token --audience other)" /users
    refused 'another audience' 401 jwt_audience_mismatch

    forged=$(claims "$issuer" 0 900)
    with "$first.$forged.${token##*.}" /users
    refused 'tampered with' 401 jwt_signature_invalid
    forged=$(printf '{"alg":"none","typ":"JWT"}' | base64url).$good.
    with "$forged" /users
    refused 'algorithm none' 401 jwt_algorithm_not_allowed
    forged=$(printf '{"alg":"HS256","typ":"JWT"}' | base64url)
    with "$(signed "$forged" "$good")" /users
    refused 'an algorithm outside the list' 401 jwt_algorithm_not_allowed
    forged=$(printf '{"alg":"RS256","kid":"unknown"}' | base64url)
    with "$(signed "$forged" "$good")" /users
    refused 'an unknown key' 401 jwt_key_unknown
    with not-a-token /users
    refused 'no token at all' 401 jwt_malformed

    with "$("$script" token --scope products:read)" /users
    refused 'a missing scope' 403 jwt_scope_missing
    ok 'a missing scope: the challenge' contains "$(header www-authenticate)" 'error="insufficient_scope"'
}

# tells REASON: the metrics and the access log have it.
tells() {
    file_has "$scratch/metrics" "reason=\"$1\"} [1-9]" &&
        within "$PATIENCE" file_has "$scratch/out" "\"reason\":\"$1\""
}

test_telemetry() {
    local url=http://127.0.0.1:$admin_port reason
    ask /healthz
    answers 'admin: alive' 200 '{"status":"ok"}'
    ask /readyz
    answers 'admin: ready' 200 '{"status":"ready"}'
    ask /nowhere
    ok 'admin: an unknown path' equal "$status" 404
    ask /metrics
    ok 'admin: metrics' equal "$status" 200
    printf '%s\n' "$body" >"$scratch/metrics"
    for reason in $(printf '%s\n' "$reasons" | tr ' ' '\n' | sort -u); do
        ok "$reason is in the metrics and in the access log" tells "$reason"
    done
    ok 'standard output is the access log alone' not file_has "$scratch/out" '^[^{]'
    ok 'no token is logged' not grep -q -F -e "${token##*.}" "$scratch/out" "$scratch/err"
}

answered() {
    wc -l <"$scratch/load" | tr -d ' '
}

are_answered() {
    [ "$(answered)" -ge "$1" ]
}

has_services() {
    [ "$(services "$system" | wc -l)" -eq "$1" ]
}

test_killed_instance() {
    local victim load
    victim=$(pids_of "$system" users-svc | head -n 1)
    background "$scratch/load" "$scratch/load-err" curl -sS --parallel --parallel-max 16 -m 60 -o /dev/null \
        -w '%{http_code}\n' -H "authorization: Bearer $token" "$url/users#[1-$LOAD_REQUESTS]"
    load=$job
    within "$PATIENCE" are_answered "$LOAD_BEFORE" || give_up 'no load'
    kill -KILL "$victim"
    ok 'an instance was killed in the midst of the load' not are_answered "$LOAD_REQUESTS"
    ok 'the load ends' ended "$PATIENCE" "$load"
    ok 'no request failed' equal "$(sort "$scratch/load" | uniq -c | tr -s ' ')" " $LOAD_REQUESTS 200"
    ok 'the death is said' within "$PATIENCE" file_has "$scratch/err" '^users-[12]  *| died with signal: 9'
    ok 'the instance starts again' within "$PATIENCE" has_services 4
    look_after
}

# clashes OPTION PORT ADMIN-PORT
clashes() {
    background "$scratch/clash-out" "$scratch/clash-err" "$script" local --port "$2" --admin-port "$3"
    ok "$1 in use: the end" ended "$PATIENCE" "$job"
    ok "$1 in use: exit code" equal "$status" 1
    ok "$1 in use: the error names the remedy" \
        file_has "$scratch/clash-err" "^error: 127.0.0.1:[0-9]* is in use already.*local $1"
    ok "$1 in use: silent on standard output" equal "$(cat "$scratch/clash-out")" ''
}

# stops SIGNAL: at once, with exit code 0, and nothing is left.
stops() {
    local started=$SECONDS
    kill "-$1" "$system"
    ok "SIG$1 ends it within $STOP_LIMIT s" ended "$STOP_LIMIT" "$system"
    ok "SIG$1: exit code" equal "$status" 0
    ok "SIG$1 leaves no process" are_services_gone
    printf '# took %s s or less\n' "$((SECONDS - started + 1))"
}

test_interrupt_under_way() {
    local pid
    for pid in $(pids_of "$system" users-svc); do
        kill -STOP "$pid"
    done
    background "$scratch/hung" "$scratch/hung-err" \
        curl -s -v -m 30 -o /dev/null -H "authorization: Bearer $token" "$url/users"
    within "$PATIENCE" file_has "$scratch/hung-err" '^> GET' || give_up 'no request under way'
    stops INT
}

# Where an instance listens, as its log says.
address_of() {
    sed -n "s/^$1  *| .*\"message\":\"listening\".*\"address\":\"\([^\"]*\)\".*/\1/p" "$scratch/err"
}

test_internal_identity() {
    local url
    url=http://$(address_of users-1)
    ask /users
    ok 'a request past the gateway is refused' equal "$status $(code)" '401 gateway_identity_missing'
    with "$token" /users -H 'x-gateway-token: forged'
    ok 'a forged token of the gateway is refused' equal "$status $(code)" '401 gateway_identity_invalid'
    ask /readyz
    ok 'a probe past the gateway is answered' equal "$status" 200
}

test_second_run() {
    local while_stopped
    while_stopped=$("$script" token) || true
    start --internal-identity
    with "$while_stopped" /users
    answers 'a token made while all was stopped' 200 "$USERS"
    with "$token" /products
    answers 'keys are kept between runs' 200 "$PRODUCTS"
    ok 'databases are kept between runs' not file_has "$scratch/err" 'database migrated'
    test_internal_identity
    stops TERM
}

kill_users() {
    local pid
    for pid in $(pids_of "$system" users-svc); do
        services_left+=("$pid")
        kill -KILL "$pid" 2>/dev/null || true
    done
    ! is_running "$system"
}

test_hopeless_service() {
    start
    ok 'a service that dies again and again ends the run' within "$PATIENCE" kill_users
    ended "$PATIENCE" "$system" || give_up 'it does not end'
    ok 'a hopeless service: exit code' equal "$status" 1
    ok 'a hopeless service is named' file_has "$scratch/err" '^error: users-[12] died more than 5 times'
    ok 'a hopeless service leaves no process' are_services_gone
}

test_killed_gateway() {
    start
    kill -KILL "$system"
    # The shell would report it.
    ended "$PATIENCE" "$system" 2>/dev/null || give_up 'SIGKILL does not end it'
    ok 'no service outlives a killed gateway' within "$STOP_LIMIT" are_services_gone
}

for tool in curl openssl; do
    command -v "$tool" >/dev/null 2>&1 || {
        printf 'tests/local.sh: %s is missing; install it (Debian: apt-get install %s)\n' "$tool" "$tool" >&2
        exit 1
    }
done

port=$(free_port 20000)
admin_port=$(free_port 25000)
url=http://127.0.0.1:$port
reasons=''
start
token=$("$script" token)
test_banner
test_answers
test_routing
test_tokens
test_telemetry
clashes --port "$port" "$(free_port 25000)"
clashes --admin-port "$(free_port 20000)" "$admin_port"
test_killed_instance
test_interrupt_under_way
test_second_run
test_hopeless_service
test_killed_gateway

printf 'local: %s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]

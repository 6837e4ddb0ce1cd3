# shellcheck shell=bash
# Sourced by copilotw.sh: the deployment's commands. Each reads its options and leaves the work to
# the engine: ENGINE_init, ENGINE_deploy, ENGINE_url, ENGINE_delete.

url='' standing='' settled=no command_running=''

# start COMMAND ARGUMENT...
start() {
    local argument
    command_running=$1
    read_options "$@"
    shift
    again="./copilotw.sh $command_running"
    for argument in "$@"; do
        again="$again $(printf '%q' "$argument")"
    done
    # Copilot and docker look for their files from here.
    cd "$here"
    trap interrupted INT TERM HUP
}

require_docker() {
    command -v docker >/dev/null 2>&1 ||
        fail 'docker is missing, and images are built with it; install it: https://docs.docker.com/get-docker/'
    docker info >/dev/null 2>&1 ||
        fail "docker is there, but its daemon does not answer; start it (Docker Desktop, or: sudo systemctl start docker), then go on with: $again"
}

# A tag of its own for every deployment: with that of the commit alone, a second deployment of the
# same commit would be none.
image_tag() {
    local commit
    commit=$(git rev-parse --short HEAD 2>/dev/null) || commit=none
    printf '%s-%s\n' "$commit" "$(date +%s)"
}

# require_values WHERE: issuer and audience, from the command line, the environment or WHERE.
require_values() {
    local missing=''
    "${engine}_deployed_values"
    [ -n "$jwt_issuer" ] || missing='the issuer of tokens (--jwt-issuer or JWT_ISSUER)'
    [ -n "$jwt_audience" ] || missing="${missing:+$missing and }their audience (--jwt-audience or JWT_AUDIENCE)"
    [ -z "$missing" ] || misused "$command_running" "the gateway needs $missing: neither the command nor $1 has it"
}

say_uncommitted() {
    if [ -n "$(git status --porcelain 2>/dev/null)" ]; then
        say 'Deploying with what is not committed.'
    fi
}

command_init() {
    start init "$@"
    say_uncommitted
    "${engine}_init"
    finish
}

command_deploy() {
    start deploy "$@"
    say_uncommitted
    "${engine}_deploy"
    finish
}

# The URL is the result.
finish() {
    begin 'asking for the URL'
    "${engine}_url"
    say 'Deployed.'
    [ -z "$url" ] || printf '%s\n' "${url%/}"
}

command_public() {
    start public "$@"
    require_aws
    doing='asking for the URL'
    "${engine}_url"
    [ -n "$url" ] ||
        fail "$app has no URL in $AWS_REGION, environment $environment: it is not deployed there.
Deploy it: ./copilotw.sh init $app$(common_arguments)
or look elsewhere: --region, --env, --engine"
    # Without the last slash, so that "$(…)/users" has one.
    printf '%s\n' "${url%/}"
}

# The stacks without which nothing works.
needed_stacks() {
    local name=$app-$environment
    if [ "$engine" = cloudformation ]; then
        printf '%s\n' "$name-repositories" "$name"
    else
        printf '%s\n' "$app-infrastructure-roles" "$name" "$name-users" "$name-products" "$name-gateway"
    fi
}

command_status() {
    local name good=yes
    start status "$@"
    require_aws
    doing='looking at what stands'
    for name in $(needed_stacks); do
        look "$name"
        printf 'stack    %-36s %s\n' "$name" "${stack:-missing}"
        case $stack in
            CREATE_COMPLETE | UPDATE_COMPLETE) ;;
            *) good=no ;;
        esac
    done
    show_services || good=no
    "${engine}_url"
    printf 'url      %s\n' "${url:-none}"
    [ "$good" = yes ] || fail "not all of $app is as it should be; go on with: ./copilotw.sh init $app$(common_arguments)"
}

# Tasks of each service; 1 when one has not as many as it should have.
show_services() {
    local cluster output=ClusterId
    [ "$engine" = copilot ] || output=ClusterName
    stack_output "$app-$environment" "$output"
    cluster=$answer
    if [ -z "$cluster" ]; then
        printf 'service  none\n'
        return 1
    fi
    must 'listing the services' ecs list-services --cluster "$cluster" --query 'serviceArns[]'
    case $answer in
        '' | None)
            printf 'service  none\n'
            return 1
            ;;
    esac
    # shellcheck disable=SC2086 # one word for each service
    must 'looking at the services' ecs describe-services --cluster "$cluster" --services $answer \
        --query 'services[].[serviceName,runningCount,desiredCount,deployments[0].rolloutState]'
    printf '%s\n' "$answer" | awk '{ printf "service  %-36s %s of %s tasks, %s\n", $1, $2, $3, $4 }
        $2 < $3 || $4 == "FAILED" { short = 1 }
        END { exit short }'
}

log_group() {
    if [ "$engine" = cloudformation ]; then
        stack_output "$app-$environment" "LogGroup$(capital "$1")"
        group=$answer
    else
        group=/copilot/$app-$environment-$1
    fi
}

command_logs() {
    local name group names=$SERVICES arguments=()
    start logs "$@"
    [ -z "$service" ] || names=$service
    if [ "$follow" = yes ]; then
        [ -n "$service" ] || misused logs "--follow is for one service; the services are: $SERVICES"
        arguments=(--follow)
    fi
    require_aws
    new_enough "$(aws_version)" 2.0 || fail "only version 2 of the AWS CLI shows logs; $(aws_remedy)"
    for name in $names; do
        doing="reading the logs of $name"
        log_group "$name"
        [ -n "$group" ] ||
            fail "$app has no logs in $AWS_REGION, environment $environment; deploy it: ./copilotw.sh init $app$(common_arguments)"
        [ -n "$service" ] || say "--- $name"
        aws logs tail "$group" --since "$since" --format short ${arguments[@]+"${arguments[@]}"} ||
            fail "the logs of $name ($group) cannot be read; is it deployed? ./copilotw.sh status $app$(common_arguments)"
    done
}

command_delete() {
    start delete "$@"
    "${engine}_delete"
}

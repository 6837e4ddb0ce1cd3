# shellcheck shell=bash
# Sourced by copilotw.sh: the engine `copilot`, the AWS Copilot CLI.
#
# Copilot writes the parameter /copilot/applications/APP last when it makes an application, and
# removes it last. So parameter and stacks together say how far it came.

readonly COPILOT_LEAST=1.30 COPILOT_END=2026-06-12
readonly COPILOT_REMEDY='install 1.30 or newer: https://github.com/aws/copilot-cli/releases (or deploy without it: --engine cloudformation)'
# Users and products first, so that the gateway finds them.
readonly COPILOT_ORDER=users/1,products/1,gateway/2
# Each of Copilot's steps, tried again after what stopped it was repaired.
readonly COPILOT_TRIES=2

workspace=$here/copilot/.workspace

# Copilot's version as 1.34.1; empty without Copilot.
copilot_version() {
    copilot --version 2>/dev/null | sed -n 's/^copilot version: v\{0,1\}\([0-9][0-9.]*\).*/\1/p'
}

require_copilot() {
    local version
    command -v copilot >/dev/null 2>&1 || fail "the AWS Copilot CLI is missing; $COPILOT_REMEDY"
    version=$(copilot_version) || version=''
    new_enough "$version" "$COPILOT_LEAST" ||
        fail "copilot is ${version:-of an unknown version}, and only from $COPILOT_LEAST on is an unchanged deployment no error; $COPILOT_REMEDY"
}

# copilot_step STACKS COPILOT-ARGUMENT...: standard output is for our results. When it fails and
# one of the stacks has to be repaired, it is tried again; Copilot's steps may be repeated.
copilot_step() {
    local stacks=$1 try=1 name repaired
    shift
    until copilot "$@" >&2; do
        say "copilot $1 ${2:-} failed; looking at the stacks."
        must 'asking who you are' sts get-caller-identity --query Account
        repaired=no
        for name in $stacks; do
            settle "$name"
            [ "$settled" = no ] || repaired=yes
        done
        if [ "$repaired" = no ] || [ "$try" -ge "$COPILOT_TRIES" ]; then
            fail "copilot $1 ${2:-} failed; the lines above say why. When that is mended, go on with: $again"
        fi
        try=$((try + 1))
        say 'Repaired; running it again.'
    done
}

workspace_application() {
    [ -f "$workspace" ] || return 0
    sed -n 's/^application:[[:space:]]*//p' "$workspace" | tr -d "\"'" | head -n 1
}

require_workspace() {
    local other
    other=$(workspace_application)
    [ -z "$other" ] || [ "$other" = "$app" ] || fail "this clone works on the application \`$other\` (copilot/.workspace), not \`$app\`.
Delete that application:          ./copilotw.sh delete $other
or leave it and turn to \`$app\`:   rm copilot/.workspace, then: $again"
}

# The environment's stack may be that of the other engine, which has the same name.
require_copilot_stack() {
    local name=$app-$environment
    if ! ask cloudformation describe-stacks --stack-name "$name" \
        --query "Stacks[0].[StackStatus, Tags[?Key=='copilot-application'].Value | [0]]"; then
        case $refusal in
            *'does not exist'*) return 0 ;;
            *) refused "reading the stack $name" ;;
        esac
    fi
    case $answer in
        REVIEW_IN_PROGRESS*) ;;
        *None) fail "the stack $name was not made by Copilot; add --engine cloudformation, or choose another name" ;;
    esac
}

# Copilot's way to say that it already has an application of this name somewhere else is its role.
require_this_region() {
    local tags
    ask iam list-role-tags --role-name "$app-adminrole" \
        --query "Tags[?Key=='copilot-application' || Key=='aws:cloudformation:stack-id'].[Key,Value]" || return 0
    tags=$answer
    case $tags in
        *copilot-application*)
            fail "the application \`$app\` is in another region of this account$(region_of_tags "$tags"), not in $AWS_REGION.
Add --region with that region, or choose another name."
            ;;
        *) fail "the account has a role $app-adminrole that Copilot did not make and needs to make; choose another name" ;;
    esac
}

region_of_tags() {
    printf '%s\n' "$1" | sed -n 's/.*arn:[^:]*:cloudformation:\([a-z0-9-]*\):.*/, \1/p' | head -n 1
}

copilot_require() {
    require_aws
    require_copilot
    require_docker
    require_copilot_stack
}

# The gateway's manifest takes these from the environment.
copilot_values() {
    case $service in
        users | products) ;;
        *) require_values "the last deployment of $app-$environment-gateway" ;;
    esac
    jwt_audience_claim=${jwt_audience_claim:-aud}
    export JWT_ISSUER=$jwt_issuer JWT_AUDIENCE=$jwt_audience
    export JWT_AUDIENCE_CLAIM=$jwt_audience_claim JWT_SCOPE_PREFIX=$jwt_scope_prefix
}

# What is deployed stays, unless something else was said.
copilot_deployed_values() {
    ask ecs describe-task-definition --task-definition "$app-$environment-gateway" \
        --query "taskDefinition.containerDefinitions[?name=='gateway'].environment[].[name,value]" || return 0
    jwt_issuer=${jwt_issuer:-$(value_of JWT_ISSUER "$answer")}
    jwt_audience=${jwt_audience:-$(value_of JWT_AUDIENCE "$answer")}
    jwt_audience_claim=${jwt_audience_claim:-$(value_of JWT_AUDIENCE_CLAIM "$answer")}
    [ "$scope_prefix_given" = yes ] || jwt_scope_prefix=$(value_of JWT_SCOPE_PREFIX "$answer")
}

# value_of NAME LINES: of the line `NAME<tab>value`.
value_of() {
    printf '%s\n' "$2" | awk -F '\t' -v name="$1" '$1 == name { print $2; exit }'
}

copilot_init() {
    copilot_require
    require_workspace
    ready=yes
    copilot_values
    copilot_application
    copilot_environment
    copilot_services
}

copilot_application() {
    local roles=$app-infrastructure-roles parameter=/copilot/applications/$app
    begin "making the application $app"
    look "$roles"
    case $stack in
        '') has_parameter "$parameter" || require_this_region ;;
        *)
            # In progress: the parameter may come when it is done.
            settle "$roles"
            if [ -n "$stack" ] && ! has_parameter "$parameter"; then
                remove_halves
            fi
            ;;
    esac
    copilot_step "$roles" app init "$app"
}

# Stacks without the parameter: Copilot takes the application for one of another region, and can
# neither make nor delete it.
remove_halves() {
    say "An earlier \`app init\` of $app was interrupted: its stack stands, its entry in the Parameter Store is missing."
    list_stacks
    show_standing
    confirm "Delete these stacks and the StackSet $app-infrastructure, and make the application anew?"
    remove_services_and_environments
    remove_stack_set "$app-infrastructure"
    remove_stack "$app-infrastructure-roles"
}

# Copilot's stacks but for the StackSet's and the roles' one, which goes last; longest names first,
# since services stand on their environment.
remove_services_and_environments() {
    local name
    list_stacks
    # Not a pipe into `while`, so that a failure ends the script.
    for name in $(printf '%s\n' "$standing" | awk -v app="$app" 'NF && $1 !~ /^StackSet-/ && $1 != app "-infrastructure-roles" { print length($1), $1 }' |
        sort -rn | awk '{ print $2 }'); do
        say "Deleting $name."
        remove_stack "$name"
    done
}

# remove_stack_set NAME: its instances first.
remove_stack_set() {
    local accounts regions
    if ! ask cloudformation list-stack-instances --stack-set-name "$1" --query 'Summaries[].[Account,Region]'; then
        case $refusal in
            *StackSetNotFound* | *'not found'*) return 0 ;;
            *) refused "looking at the StackSet $1" ;;
        esac
    fi
    if [ -n "$answer" ] && [ "$answer" != None ]; then
        accounts=$(printf '%s\n' "$answer" | awk '{ print $1 }' | sort -u)
        regions=$(printf '%s\n' "$answer" | awk '{ print $2 }' | sort -u)
        say "Deleting the instances of the StackSet $1."
        # shellcheck disable=SC2086 # one word for each account and region
        must "deleting the instances of $1" cloudformation delete-stack-instances --stack-set-name "$1" \
            --accounts $accounts --regions $regions --no-retain-stacks --query OperationId
        wait_for_operation "$1" "$answer"
    fi
    say "Deleting the StackSet $1."
    must "deleting the StackSet $1" cloudformation delete-stack-set --stack-set-name "$1"
}

# wait_for_operation STACK-SET OPERATION
wait_for_operation() {
    local started_s now
    started_s=$(now_s)
    while :; do
        must "asking for the operation on $1" cloudformation describe-stack-set-operation --stack-set-name "$1" \
            --operation-id "$2" --query StackSetOperation.Status
        case $answer in
            RUNNING | QUEUED | STOPPING) ;;
            SUCCEEDED)
                end_progress
                return 0
                ;;
            *)
                end_progress
                fail "deleting the instances of $1 ended as $answer; look at it in the console (CloudFormation, StackSets, $AWS_REGION), then go on with: $again"
                ;;
        esac
        now=$(now_s)
        [ $((now - started_s)) -lt "$wait_s" ] ||
            fail "deleting the instances of $1 takes longer than $(readable_s "$wait_s"); go on with: $again"
        progress "$now" "$1: $answer for $(readable_s $((now - started_s))), waiting at most $(readable_s "$wait_s")"
        sleep "$LOOK_PAUSE_S"
    done
}

copilot_environment() {
    local name=$app-$environment
    begin "making the environment $environment"
    settle "$name"
    if [ -z "$stack" ] || ! has_parameter "/copilot/applications/$app/environments/$environment"; then
        copilot_env_init "$name"
    fi
    begin "deploying the environment $environment"
    copilot_step "$name" env deploy --app "$app" --name "$environment"
}

# `env init` asks which profile to use whenever there are profiles and none was named.
copilot_env_init() {
    local name=${AWS_PROFILE:-${AWS_DEFAULT_PROFILE:-}}
    if [ -z "$name" ] && [ -z "${AWS_ACCESS_KEY_ID:-}" ] && has_default_profile; then
        name=default
    fi
    if [ -n "$name" ]; then
        copilot_step "$1" env init --app "$app" --name "$environment" --region "$AWS_REGION" --default-config --profile "$name"
    else
        # Credentials of the environment or the machine: without a file there are no profiles.
        AWS_CONFIG_FILE=$scratch/no-profiles \
            copilot_step "$1" env init --app "$app" --name "$environment" --region "$AWS_REGION" --default-config
    fi
}

has_default_profile() {
    local profiles
    profiles=$(aws configure list-profiles 2>/dev/null) || return 1
    one_of default "$(printf '%s' "$profiles" | tr '\n' ' ')"
}

copilot_services() {
    local names=$SERVICES name stacks='' arguments
    [ -z "$service" ] || names=$service
    begin "deploying ${service:-all services}"
    for name in $names; do
        stacks="$stacks $app-$environment-$name"
    done
    for name in $stacks; do
        settle "$name"
    done
    arguments=(--app "$app" --env "$environment" --init-wkld --deploy-env=false --tag "$(image_tag)")
    if [ -n "$service" ]; then
        arguments+=(--name "$service")
    else
        arguments+=(--all --name "$COPILOT_ORDER")
    fi
    [ "$force" = no ] || arguments+=(--force)
    copilot_step "$stacks" deploy "${arguments[@]}"
}

copilot_deploy() {
    copilot_require
    ready=yes
    has_parameter "/copilot/applications/$app/environments/$environment" ||
        fail "there is no environment $environment of $app in $AWS_REGION; make it: ./copilotw.sh init $app$(common_arguments)"
    copilot_values
    copilot_services
}

# The URL in $url; empty when there is none yet.
copilot_url() {
    local shown
    url=''
    if command -v copilot >/dev/null 2>&1; then
        shown=$(COLOR=false copilot svc show --app "$app" --name gateway --json 2>/dev/null) || shown=''
        url=$(printf '%s\n' "$shown" | url_of_routes)
    fi
    if [ -z "$url" ]; then
        stack_output "$app-$environment" PublicLoadBalancerDNSName
        url=${answer:+http://$answer}
    fi
}

# The environment's `"url"` in Copilot's JSON, which is one line. It may be English, such as
# "http://a, http://b, or http://c": the first address counts.
url_of_routes() {
    sed -n 's/.*"routes":\[\([^]]*\)\].*/\1/p' | tr '}' '\n' | { grep -F "\"environment\":\"$environment\"" || true; } |
        sed -n 's/.*"url":"\([^"]*\)".*/\1/p' | { grep -o 'https\{0,1\}://[^ ",]*' || true; } | head -n 1
}

copilot_delete() {
    local has_entry=no tries=1
    require_aws
    ready=yes
    begin "looking at what $app has"
    list_stacks
    ! has_parameter "/copilot/applications/$app" || has_entry=yes
    if [ -z "$standing" ] && [ "$has_entry" = no ]; then
        require_this_region
        forget_workspace
        say "Nothing of $app stands in $AWS_REGION."
        return 0
    fi
    say "This deletes the application $app in account $account, $AWS_REGION: all its environments, services, images, databases and their rows:"
    show_standing
    confirm "Delete all of it?"
    rest_all
    if [ "$has_entry" = yes ]; then
        require_copilot
        begin "deleting the application $app"
        until copilot app delete --name "$app" --yes >&2; do
            [ "$tries" -lt "$COPILOT_TRIES" ] || break
            tries=$((tries + 1))
            say 'copilot app delete stopped half-way; running it once more.'
            must 'asking who you are' sts get-caller-identity --query Account
            list_stacks
            rest_all
        done
    fi
    # What Copilot does not know of: an environment that was interrupted while it was made.
    if [ "$has_entry" = no ] || ! has_parameter "/copilot/applications/$app"; then
        begin "deleting what Copilot left of $app"
        remove_services_and_environments
        remove_stack_set "$app-infrastructure"
        remove_stack "$app-infrastructure-roles"
        forget_workspace
    fi
    what_is_left
}

# Waits for all stacks in $standing that move. Those in review rest for our purpose.
rest_all() {
    local name status
    while read -r name status <&3; do
        case $status in
            REVIEW_IN_PROGRESS) settle "$name" ;;
            *_IN_PROGRESS) rest "$name" ;;
        esac
    done 3<<LINES
$standing
LINES
}

forget_workspace() {
    if [ "$(workspace_application)" = "$app" ]; then
        rm -f "$workspace"
    fi
}

what_is_left() {
    begin 'looking at what is left'
    list_stacks
    if [ -n "$standing" ]; then
        say 'Still there:'
        show_standing
        fail "not all of $app could be deleted; the lines above say why. When that is mended, go on with: $again"
    fi
    if [ "$engine" = copilot ] && has_parameter "/copilot/applications/$app"; then
        fail "the stacks of $app are gone, but its entry /copilot/applications/$app in the Parameter Store is not; go on with: $again"
    fi
    say "$app is deleted."
}

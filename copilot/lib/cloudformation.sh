# shellcheck shell=bash
# Sourced by copilotw.sh: the engine `cloudformation`, the AWS CLI and copilot/cloudformation/.
#
# Two stacks: APP-ENV-repositories has a repository for each service's images, APP-ENV the rest.

readonly TEMPLATES=copilot/cloudformation

cloudformation_require() {
    require_aws
    require_docker
    ! has_parameter "/copilot/applications/$app" ||
        fail "the application $app was made by Copilot; leave out --engine cloudformation, or choose another name"
}

cloudformation_init() {
    cloudformation_require
    ready=yes
    cloudformation_values
    begin "making the repositories of $app"
    cloudformation_stack "$app-$environment-repositories" "$TEMPLATES/repositories.yaml" "App=$app" "Env=$environment"
    cloudformation_services
}

cloudformation_deploy() {
    cloudformation_require
    ready=yes
    look "$app-$environment"
    [ -n "$stack" ] ||
        fail "there is no stack $app-$environment in $AWS_REGION; make it: ./copilotw.sh init $app$(common_arguments)"
    case $stack in
        REVIEW_IN_PROGRESS | ROLLBACK_* | *_FAILED)
            # It may have to be made anew, and then it needs all images.
            [ -z "$service" ] || say "$app-$environment is in $stack: deploying all services."
            service=''
            ;;
    esac
    cloudformation_values
    cloudformation_services
}

# The stack remembers its parameters; the first deployment needs them.
cloudformation_values() {
    case $service in
        users | products) return 0 ;;
    esac
    require_values "the stack $app-$environment"
}

cloudformation_deployed_values() {
    ask cloudformation describe-stacks --stack-name "$app-$environment" \
        --query 'Stacks[0].Parameters[].[ParameterKey,ParameterValue]' || return 0
    jwt_issuer=${jwt_issuer:-$(value_of JwtIssuer "$answer")}
    jwt_audience=${jwt_audience:-$(value_of JwtAudience "$answer")}
    jwt_audience_claim=${jwt_audience_claim:-$(value_of JwtAudienceClaim "$answer")}
    [ "$scope_prefix_given" = yes ] || jwt_scope_prefix=$(value_of JwtScopePrefix "$answer")
}

# Builds and pushes one image, or all, and deploys the stack with them.
cloudformation_services() {
    local names=$SERVICES name parameters tag
    [ -z "$service" ] || names=$service
    tag=$(image_tag)
    choose_architecture
    parameters=("App=$app" "Env=$environment" "Architecture=$architecture")
    case $service in
        '' | gateway) gateway_parameters ;;
    esac
    parameters+=(${template_parameters[@]+"${template_parameters[@]}"})
    for name in $names; do
        begin "building and pushing $name"
        push_image "$name" "$tag"
        parameters+=("$(capital "$name")Image=$image")
    done
    begin "deploying ${service:-all services}"
    cloudformation_stack "$app-$environment" "$TEMPLATES/system.yaml" "${parameters[@]}"
}

# Adds to the caller's $parameters what is the gateway's alone. What is not given stays as it is.
gateway_parameters() {
    [ -z "$jwt_issuer" ] || parameters+=("JwtIssuer=$jwt_issuer")
    [ -z "$jwt_audience" ] || parameters+=("JwtAudience=$jwt_audience")
    [ -z "$jwt_audience_claim" ] || parameters+=("JwtAudienceClaim=$jwt_audience_claim")
    [ "$scope_prefix_given$jwt_scope_prefix" = no ] || parameters+=("JwtScopePrefix=$jwt_scope_prefix")
}

# users as Users: parameters and outputs of the templates.
capital() {
    case $1 in
        gateway) printf 'Gateway\n' ;;
        users) printf 'Users\n' ;;
        products) printf 'Products\n' ;;
    esac
}

# All services run on one architecture: that of the stack, at first that of Docker's machine, since
# building for another one is slow.
choose_architecture() {
    architecture=''
    if ask cloudformation describe-stacks --stack-name "$app-$environment" \
        --query "Stacks[0].Parameters[?ParameterKey=='Architecture'].ParameterValue | [0]"; then
        architecture=$answer
    fi
    case $architecture in
        X86_64 | ARM64) return 0 ;;
    esac
    case $(docker version --format '{{.Server.Arch}}' 2>/dev/null) in
        arm64 | aarch64) architecture=ARM64 ;;
        *) architecture=X86_64 ;;
    esac
}

# push_image SERVICE TAG: leaves its name in $image. The services are targets of one Dockerfile.
push_image() {
    local repository platform=linux/amd64
    [ "$architecture" = X86_64 ] || platform=linux/arm64
    stack_output "$app-$environment-repositories" "$(capital "$1")Repository"
    repository=$answer
    [ -n "$repository" ] ||
        fail "the stack $app-$environment-repositories has no repository for $1; make it: ./copilotw.sh init $app$(common_arguments)"
    image=$repository:$2
    docker build --platform "$platform" --target "$1" --tag "$image" --build-arg PGO . >&2 ||
        fail "the image of $1 could not be built; the lines above say why. When that is mended, go on with: $again"
    # Each time: the login lasts 12 hours, and a build may take long.
    aws ecr get-login-password | docker login --username AWS --password-stdin "${repository%%/*}" >&2 ||
        fail "docker could not log in to ${repository%%/*}; the lines above say why. Go on with: $again"
    docker push "$image" >&2 ||
        fail "the image of $1 could not be pushed; the lines above say why. Go on with: $again"
}

# cloudformation_stack STACK TEMPLATE PARAMETER...: makes it so. The change set is executed apart,
# so that there is progress to see and a bound, and Ctrl-C leaves a state that can be gone on from.
cloudformation_stack() {
    local name=$1 template=$2 change_set
    shift 2
    [ -f "$template" ] || fail "$template is missing; get it back: git checkout $template"
    settle "$name"
    if ! ask cloudformation deploy --stack-name "$name" --template-file "$template" --capabilities CAPABILITY_IAM \
        --no-fail-on-empty-changeset --no-execute-changeset --parameter-overrides "$@"; then
        refused "deploying $template"
    fi
    change_set=$(printf '%s\n' "$answer" | { grep -o 'arn:[^ ]*:changeSet/[^ ]*' || true; } | head -n 1)
    if [ -z "$change_set" ]; then
        say "$name is up to date."
        return
    fi
    must "deploying $name" cloudformation execute-change-set --change-set-name "$change_set"
    rest "$name"
    case $stack in
        CREATE_COMPLETE | UPDATE_COMPLETE) ;;
        *)
            say "$name is $stack:"
            explain "$name"
            fail "$name could not be deployed, and CloudFormation has taken it back. When the cause is mended, go on with: $again"
            ;;
    esac
}

cloudformation_url() {
    stack_output "$app-$environment" PublicUrl
    url=$answer
}

cloudformation_delete() {
    require_aws
    ready=yes
    begin "looking at what $app has"
    ! has_parameter "/copilot/applications/$app" ||
        fail "the application $app was made by Copilot; leave out --engine cloudformation"
    list_stacks
    if [ -z "$standing" ]; then
        say "Nothing of $app, environment $environment, stands in $AWS_REGION."
        return 0
    fi
    say "This deletes the environment $environment of $app in account $account, $AWS_REGION: services, images, databases and their rows:"
    show_standing
    confirm 'Delete all of it?'
    rest_all
    begin "deleting $app-$environment"
    remove_stack "$app-$environment"
    begin "deleting the repositories of $app"
    remove_stack "$app-$environment-repositories"
    what_is_left
}

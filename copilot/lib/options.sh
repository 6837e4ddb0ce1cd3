# shellcheck shell=bash
# Sourced by copilotw.sh: the command line of the deployment's commands.
#
# `read_options COMMAND ARGUMENT...` leaves its result in these:

app='' service='' engine=copilot environment=test
wait_s=1800 since=10m
assume_yes=no follow=no force=no
jwt_issuer='' jwt_audience='' jwt_audience_claim='' jwt_scope_prefix=''
scope_prefix_given=no
template_parameters=()

readonly SERVICES='users products gateway'
readonly NAME_MOST=20

# The options that COMMAND knows, divided by spaces.
options_of() {
    local common='--engine --env --profile --region'
    local change='--wait --yes'
    local values='--jwt-issuer --jwt-audience --jwt-audience-claim --jwt-scope-prefix --parameter'
    case $1 in
        init) printf '%s\n' "$common $change $values" ;;
        deploy) printf '%s\n' "$common $change $values --force" ;;
        delete) printf '%s\n' "$common $change" ;;
        logs) printf '%s\n' "$common --since --follow" ;;
        *) printf '%s\n' "$common" ;;
    esac
}

# read_options COMMAND ARGUMENT...
read_options() {
    local command=$1 known value names=()
    shift
    known=$(options_of "$command")
    while [ $# -gt 0 ]; do
        case $1 in
            --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        esac
        case $1 in
            -*)
                one_of "$1" "$known" || unknown_option "$command" "$1" "$known"
                case $1 in
                    --yes | --follow | --force)
                        read_switch "$1"
                        shift
                        continue
                        ;;
                esac
                needs_value "$command" "$1" $#
                value=$2
                read_value "$command" "$1" "$value"
                shift 2
                ;;
            *)
                names+=("$1")
                shift
                ;;
        esac
    done
    read_names "$command" ${names[@]+"${names[@]}"}
    check_name "$command" --env "$environment"
    use_values "$command"
}

# one_of WORD WORDS
one_of() {
    case " $2 " in
        *" $1 "*) return 0 ;;
        *) return 1 ;;
    esac
}

unknown_option() {
    local near
    near=$(near_miss "$2" "$3")
    misused "$1" "$1 does not know \`$2\`${near:+; did you mean \`$near\`?}"
}

read_switch() {
    case $1 in
        --yes) assume_yes=yes ;;
        --follow) follow=yes ;;
        --force) force=yes ;;
    esac
}

# read_value COMMAND OPTION VALUE
read_value() {
    case $2 in
        --engine) read_engine "$1" "$3" ;;
        --env) environment=$3 ;;
        --profile) use_profile "$1" "$3" ;;
        --region) use_region "$1" "$3" ;;
        --wait) wait_s=$(duration_s "$1" "$2" "$3" 60 21600) || exit ;;
        --since)
            duration_s "$1" "$2" "$3" 60 86400 >/dev/null || exit
            since=$3
            ;;
        --jwt-issuer) jwt_issuer=$3 ;;
        --jwt-audience) jwt_audience=$3 ;;
        --jwt-audience-claim) jwt_audience_claim=$3 ;;
        --jwt-scope-prefix)
            jwt_scope_prefix=$3
            scope_prefix_given=yes
            ;;
        --parameter) template_parameters+=("$3") ;;
    esac
}

read_engine() {
    local near
    case $2 in
        copilot | cloudformation) engine=$2 ;;
        *)
            near=$(near_miss "$2" 'copilot cloudformation')
            misused "$1" "--engine is copilot or cloudformation, not \`$2\`${near:+; did you mean \`$near\`?}"
            ;;
    esac
}

# read_names COMMAND [APP [SERVICE]]
read_names() {
    local command=$1 near
    shift
    if [ "$command" = doctor ]; then
        [ $# -eq 0 ] || misused doctor "doctor looks at this machine and the account, and takes no name (\`$1\`)"
        return
    fi
    [ $# -ge 1 ] || misused "$command" "$command needs the application's name"
    app=$1
    check_name "$command" 'the name of the application' "$app"
    [ $# -ge 2 ] || return 0
    case $command in
        deploy | logs) ;;
        *) misused "$command" "$command takes one name; what is \`$2\`?" ;;
    esac
    service=$2
    if ! one_of "$service" "$SERVICES"; then
        near=$(near_miss "$service" "$SERVICES")
        misused "$command" "there is no service \`$service\`; ${near:+did you mean \`$near\`? }the services are: $SERVICES"
    fi
    [ $# -eq 2 ] || misused "$command" "$command takes two names at most; what is \`$3\`?"
}

# check_name COMMAND WHAT NAME: a name that Copilot, ECR and CloudFormation take.
check_name() {
    case $3 in
        [a-z]?*) ;;
        *) misused "$1" "$2 must have 2 to $NAME_MOST of a-z, 0-9 and -, a letter first, not \`$3\`" ;;
    esac
    case $3 in
        *[!abcdefghijklmnopqrstuvwxyz0123456789-]*)
            misused "$1" "$2 must be made of a-z, 0-9 and -, not \`$3\`"
            ;;
    esac
    [ "${#3}" -le "$NAME_MOST" ] ||
        misused "$1" "$2 must have at most $NAME_MOST characters, and \`$3\` has ${#3}"
}

# duration_s COMMAND OPTION VALUE LEAST MOST: 90s, 30m or 2h, in seconds.
duration_s() {
    local number=${3%?} seconds=''
    case $number in
        '' | *[!0-9]* | 0?* | ??????*) ;;
        *)
            case $3 in
                *s) seconds=$number ;;
                *m) seconds=$((number * 60)) ;;
                *h) seconds=$((number * 3600)) ;;
            esac
            ;;
    esac
    if [ -z "$seconds" ] || [ "$seconds" -lt "$4" ] || [ "$seconds" -gt "$5" ]; then
        misused "$1" "$2 must be a time from $(readable_s "$4") to $(readable_s "$5"), such as 45m, not \`$3\`"
    fi
    printf '%s\n' "$seconds"
}

# 95 as 1m35s
readable_s() {
    local hours=$(($1 / 3600)) minutes=$(($1 % 3600 / 60)) seconds=$(($1 % 60)) text=''
    [ "$hours" -eq 0 ] || text=${hours}h
    [ "$minutes" -eq 0 ] || text=$text${minutes}m
    [ "$seconds" -eq 0 ] && [ -n "$text" ] || text=$text${seconds}s
    printf '%s\n' "$text"
}

# The command line first, then the environment; what is deployed comes later (require_values).
use_values() {
    jwt_issuer=${jwt_issuer:-${JWT_ISSUER:-}}
    jwt_audience=${jwt_audience:-${JWT_AUDIENCE:-}}
    jwt_audience_claim=${jwt_audience_claim:-${JWT_AUDIENCE_CLAIM:-}}
    if [ "$scope_prefix_given" = no ] && [ -n "${JWT_SCOPE_PREFIX+set}" ]; then
        jwt_scope_prefix=$JWT_SCOPE_PREFIX
        scope_prefix_given=yes
    fi
    case $1 in
        init | deploy) ;;
        *) return 0 ;;
    esac
    case $jwt_issuer in
        '' | https://?*) ;;
        *) misused "$1" "the issuer must be an https URL, as \`iss\` in the tokens has it, not \`$jwt_issuer\`" ;;
    esac
    check_value "$1" 'the issuer' "$jwt_issuer"
    check_value "$1" 'the audience' "$jwt_audience"
    check_value "$1" "the audience's claim" "$jwt_audience_claim"
    check_value "$1" "the scopes' prefix" "$jwt_scope_prefix"
    check_parameters "$1" ${template_parameters[@]+"${template_parameters[@]}"}
}

# check_parameters COMMAND [NAME=VALUE...]: CloudFormation would leave out what it does not know.
check_parameters() {
    local command=$1 known near parameter
    shift
    [ $# -gt 0 ] || return 0
    [ "$engine" = cloudformation ] ||
        misused "$command" '--parameter is for --engine cloudformation; with Copilot, change copilot/*/manifest.yml'
    known=$(sed -n '/^Parameters:/,/^[A-Z][A-Za-z]*:$/s/^  \([A-Z][A-Za-z]*\):.*/\1/p' "$here/$TEMPLATES/system.yaml" | tr '\n' ' ')
    for parameter in "$@"; do
        case $parameter in
            *=*) ;;
            *) misused "$command" "--parameter must be NAME=VALUE, not \`$parameter\`" ;;
        esac
        one_of "${parameter%%=*}" "$known" || {
            near=$(near_miss "${parameter%%=*}" "$known")
            misused "$command" "the template has no parameter \`${parameter%%=*}\`; ${near:+did you mean \`$near\`? }it has: $known"
        }
    done
}

# These values are put between quotation marks into YAML.
check_value() {
    case $3 in
        *[!!-~]* | *[\"\\\'\$\`]*) misused "$1" "$2 must have no spaces, quotation marks, \$ or backslashes, unlike \`$3\`" ;;
    esac
}

# shellcheck shell=bash
# Sourced by copilotw.sh: talking to AWS.
#
# `ask SERVICE OPERATION ...` leaves what AWS says in $answer, or returns 1 with its error in
# $refusal. It is not called in $(...), so that it can end the script.

answer='' refusal=''
scratch=''
account=''

# A question that AWS has no time for is asked again, so often and after so many seconds, doubled
# each time. The AWS CLI has tried already, for some seconds.
readonly ASK_MOST=5 ASK_PAUSE_S=2

# use_profile COMMAND NAME: credentials in the environment would win over a profile.
use_profile() {
    [ -n "$2" ] || misused "$1" '--profile needs a name; `aws configure list-profiles` lists them'
    export AWS_PROFILE=$2
    unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
}

# use_region COMMAND NAME
use_region() {
    case $2 in
        [a-z][a-z]*-[a-z]*-[0-9]) ;;
        *) misused "$1" "--region must be a region such as eu-central-1, not \`$2\`" ;;
    esac
    export AWS_REGION=$2 AWS_DEFAULT_REGION=$2
}

# Both names, since the AWS CLI and Copilot do not read the same.
find_region() {
    local region=${AWS_REGION:-${AWS_DEFAULT_REGION:-}}
    if [ -z "$region" ]; then
        region=$(aws configure get region 2>/dev/null) || region=''
    fi
    [ -n "$region" ] || return 1
    export AWS_REGION=$region AWS_DEFAULT_REGION=$region
}

require_region() {
    find_region ||
        fail 'no region is set; add --region eu-central-1, or set AWS_REGION, or run: aws configure set region eu-central-1'
}

# A place for errors. Also: nothing waits for a key, and errors are in the English that we know.
require_scratch() {
    export AWS_PAGER='' LC_ALL=C
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/copilotw.XXXXXX") || fail 'mktemp cannot make a directory; is the disk full?'
    trap 'rm -rf "$scratch"' EXIT
}

# What a failed question means: later, credentials, unreachable or no.
kind_of_refusal() {
    case $1 in
        *'(Throttl'* | *'Rate exceeded'* | *RequestLimitExceeded* | *TooManyRequests* | *SlowDown* | *ServiceUnavailable* | *'(InternalFailure)'*)
            printf 'later\n'
            ;;
        *ExpiredToken* | *'has expired'* | *RequestExpired* | *InvalidClientTokenId* | *'Unable to locate credentials'* | \
            *'Error loading SSO Token'* | *SignatureDoesNotMatch* | *AuthFailure* | *UnrecognizedClient* | \
            *'config profile'*'could not be found'* | *'Partial credentials'*)
            printf 'credentials\n'
            ;;
        *'Could not connect to the endpoint'* | *'onnect timeout'* | *'Read timeout'* | *'Connection was closed'*)
            printf 'unreachable\n'
            ;;
        *) printf 'no\n' ;;
    esac
}

ask() {
    local try=1 pause_s=$ASK_PAUSE_S kind
    while :; do
        if answer=$(aws "$@" --output text 2>"$scratch/refusal"); then
            refusal=''
            return 0
        fi
        refusal=$(<"$scratch/refusal")
        kind=$(kind_of_refusal "$refusal")
        case $kind in
            no) return 1 ;;
            credentials) fail "the credentials do not serve: $(last_line "$refusal")
$(credentials_remedy)" ;;
        esac
        [ "$try" -lt "$ASK_MOST" ] || break
        sleep "$pause_s"
        pause_s=$((pause_s * 2))
        try=$((try + 1))
    done
    case $kind in
        later) fail "AWS had no time for \`aws $1 $2\`, $ASK_MOST times: $(last_line "$refusal")
Wait a minute, then go on with: $again" ;;
        *) fail "AWS cannot be reached: $(last_line "$refusal")
Look at the network, proxies and --region, then go on with: $again" ;;
    esac
}

# must WHAT SERVICE OPERATION ...: ask, where a no ends the script.
must() {
    local what=$1
    shift
    ask "$@" || refused "$what"
}

# AWS said no, and nothing can be done here.
refused() {
    case $refusal in
        *AccessDenied* | *'not authorized'* | *UnauthorizedOperation*)
            fail "$1 is not allowed to these credentials: $(last_line "$refusal")
Use those of an administrator (--profile), or have the permission added, then go on with: $again"
            ;;
        *) fail "$1 failed: $(last_line "$refusal")
When that is mended, go on with: $again" ;;
    esac
}

# AWS begins and ends its errors with empty lines.
last_line() {
    printf '%s\n' "$1" | awk 'NF { line = $0 } END { print line }'
}

credentials_remedy() {
    if [ -n "${AWS_ACCESS_KEY_ID:-}" ]; then
        printf 'They are those of AWS_ACCESS_KEY_ID: set new ones, or name a profile with --profile.\n'
    elif [ -n "${AWS_PROFILE:-}" ]; then
        printf 'Renew them (aws sso login --profile %s, or aws configure --profile %s), or name another profile with --profile; then run this again.\n' \
            "$AWS_PROFILE" "$AWS_PROFILE"
    else
        printf 'Run aws configure (or aws configure sso), or name a profile with --profile; then run this again.\n'
    fi
}

require_aws() {
    command -v aws >/dev/null 2>&1 || fail "the AWS CLI is missing; $(aws_remedy)"
    require_scratch
    require_region
    must 'asking who you are' sts get-caller-identity --query Account
    account=$answer
}

# As 2.15.30; empty when it does not say.
aws_version() {
    aws --version 2>/dev/null | sed -n 's|^aws-cli/\([0-9][0-9.]*\).*|\1|p'
}

# new_enough VERSION LEAST, of the shape 1.30
new_enough() {
    local major=${1%%.*} minor=${1#*.}
    minor=${minor%%.*}
    case $major$minor in
        '' | *[!0-9]*) return 1 ;;
    esac
    [ "$major" -gt "${2%%.*}" ] || { [ "$major" -eq "${2%%.*}" ] && [ "$minor" -ge "${2#*.}" ]; }
}

aws_remedy() {
    printf 'install version 2: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html\n'
}

# Whether there is such a parameter.
has_parameter() {
    ask ssm get-parameter --name "$1" --query Parameter.Name && return 0
    case $refusal in
        *ParameterNotFound*) return 1 ;;
        *) refused "reading the parameter $1" ;;
    esac
}

# stack_output STACK KEY: in $answer; empty without the stack or the output.
stack_output() {
    if ! ask cloudformation describe-stacks --stack-name "$1" \
        --query "Stacks[0].Outputs[?OutputKey=='$2'].OutputValue | [0]"; then
        case $refusal in
            *'does not exist'*) answer='' ;;
            *) refused "reading the stack $1" ;;
        esac
    fi
    [ "$answer" != None ] || answer=''
}

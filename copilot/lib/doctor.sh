# shellcheck shell=bash
# Sourced by copilotw.sh: `doctor`. Each check prints one line and never ends the script.

failures=0

# report VERDICT WHAT TEXT
report() {
    printf '%-5s %-12s %s\n' "$1" "$2" "$3"
    [ "$1" != fail ] || failures=$((failures + 1))
}

command_doctor() {
    start doctor "$@"
    doing='looking at this machine and the account'
    require_scratch
    doctor_aws
    doctor_copilot
    doctor_docker
    doctor_git
    if command -v aws >/dev/null 2>&1 && doctor_region && doctor_credentials; then
        doctor_quota VPCs vpc L-F678F1CE 1 ec2 describe-vpcs --query 'length(Vpcs)'
        doctor_quota 'elastic IPs' ec2 L-0263D0A3 2 ec2 describe-addresses --query 'length(Addresses)'
    fi
    [ "$failures" -eq 0 ] || fail "failed checks: $failures; each line has its remedy"
}

doctor_aws() {
    local version
    if ! command -v aws >/dev/null 2>&1; then
        report fail aws "the AWS CLI is missing; $(aws_remedy)"
        return
    fi
    version=$(aws_version) || version=''
    if new_enough "$version" 2.0; then
        report ok aws "$version"
    else
        report fail aws "${version:-unknown version}; logs and others need 2; $(aws_remedy)"
    fi
}

doctor_copilot() {
    local version
    if [ "$engine" = cloudformation ]; then
        report ok copilot 'not needed for --engine cloudformation'
    elif ! command -v copilot >/dev/null 2>&1; then
        report fail copilot "missing; $COPILOT_REMEDY"
    else
        version=$(copilot_version) || version=''
        if ! new_enough "$version" "$COPILOT_LEAST"; then
            report fail copilot "${version:-unknown version}; $COPILOT_REMEDY"
        elif [ "$(date +%Y%m%d)" -ge "${COPILOT_END//-/}" ]; then
            report warn copilot "$version; AWS supports Copilot no more since $COPILOT_END. It still works; --engine cloudformation does without it"
        else
            report ok copilot "$version; supported until $COPILOT_END"
        fi
    fi
}

doctor_docker() {
    local machine built
    if ! command -v docker >/dev/null 2>&1; then
        report fail docker 'missing; install it: https://docs.docker.com/get-docker/'
        return
    fi
    built=$(docker version --format '{{.Server.Arch}}' 2>/dev/null) || built=''
    if [ -z "$built" ]; then
        report fail docker 'its daemon does not answer; start it (Docker Desktop, or: sudo systemctl start docker)'
        return
    fi
    report ok docker "$(docker version --format '{{.Server.Version}}' 2>/dev/null), builds for $built"
    machine=$(uname -m)
    case $machine/$built in
        x86_64/amd64) report ok platform "$machine" ;;
        arm64/arm64 | aarch64/arm64 | arm64/aarch64 | aarch64/aarch64)
            if [ "$engine" = copilot ] && grep -qs '^platform:.*x86_64' copilot/*/manifest.yml; then
                report warn platform "$machine, but the manifests say linux/x86_64: builds are emulated and slow. Set platform: linux/arm64 in copilot/*/manifest.yml, which is cheaper too"
            else
                report ok platform "$machine"
            fi
            ;;
        *) report warn platform "this machine is $machine and docker builds for $built; builds may be emulated and slow" ;;
    esac
}

doctor_git() {
    if ! command -v git >/dev/null 2>&1; then
        report warn git 'missing; images are tagged without the commit. Install it: https://git-scm.com/downloads'
    elif ! git rev-parse --short HEAD >/dev/null 2>&1; then
        report warn git 'this directory is no clone; images are tagged without the commit'
    else
        report ok git "$(git --version | awk '{ print $3 }')"
    fi
}

doctor_region() {
    if find_region; then
        report ok region "$AWS_REGION"
    else
        report fail region 'none is set; add --region eu-central-1, or set AWS_REGION'
        return 1
    fi
}

# In a subshell, since a question without credentials ends the script.
doctor_credentials() {
    local identity
    if identity=$(must 'asking who you are' sts get-caller-identity --query Arn 2>&1 && printf '%s\n' "$answer"); then
        report ok credentials "$identity"
    else
        report fail credentials "$(printf '%s\n' "$identity" | tr '\n' ' ')"
        return 1
    fi
}

# doctor_quota WHAT SERVICE CODE NEEDED QUESTION...: a new environment needs so many.
doctor_quota() {
    local what=$1 service_code=$2 code=$3 needed=$4 most used
    shift 4
    most=$(ask service-quotas get-service-quota --service-code "$service_code" --quota-code "$code" \
        --query Quota.Value 2>/dev/null && printf '%.0f\n' "$answer") || most=''
    used=$(ask "$@" 2>/dev/null && printf '%s\n' "$answer") || used=''
    if [ -z "$most" ] || [ -z "$used" ]; then
        report warn "$what" 'the quota could not be read with these credentials'
    elif [ $((most - used)) -lt "$needed" ]; then
        report warn "$what" "$used of $most used, and a new environment needs $needed; raise it: https://console.aws.amazon.com/servicequotas (code $code)"
    else
        report ok "$what" "$used of $most used"
    fi
}

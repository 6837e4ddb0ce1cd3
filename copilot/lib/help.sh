# shellcheck shell=bash
# Sourced by copilotw.sh: what the deployment's commands say of themselves.

# Options of all commands that talk to AWS.
usage_common_options() {
    cat <<'TEXT'
  --engine E       copilot (default): the AWS Copilot CLI;
                   cloudformation: the AWS CLI alone, copilot/cloudformation/
  --env NAME       environment (default test)
  --profile NAME   named profile of the AWS CLI (default: AWS_PROFILE; without
                   one, what the AWS CLI itself would use)
  --region NAME    region (default: AWS_REGION, AWS_DEFAULT_REGION, the profile's)
TEXT
}

# Options of the commands that wait and delete.
usage_change_options() {
    cat <<'TEXT'
  --wait T         how long to wait for a stack that moves, 1m to 6h (default 30m)
  --yes            do not ask before deleting; needed without a terminal
TEXT
}

# Options of the commands that deploy the gateway.
usage_value_options() {
    cat <<'TEXT'
  --jwt-issuer URL, --jwt-audience A
                   whose tokens are accepted (default: JWT_ISSUER, JWT_AUDIENCE,
                   then what is deployed); the first deployment needs both
  --jwt-audience-claim C
                   claim that holds the audience (default: JWT_AUDIENCE_CLAIM,
                   what is deployed, aud); client_id for Amazon Cognito
  --jwt-scope-prefix P
                   before each scope that a route asks for (default:
                   JWT_SCOPE_PREFIX, what is deployed, none)
  --parameter NAME=VALUE
                   a parameter of copilot/cloudformation/system.yaml, such as
                   CertificateArn; may be repeated (engine cloudformation only)
TEXT
}

usage_exit_codes() {
    cat <<'TEXT'

Exit codes: 0 done, 1 failed, 2 misused, 130 interrupted.
TEXT
}

usage_init() {
    cat <<'TEXT'
Usage: ./copilotw.sh init APP [OPTIONS]

Makes the application, its environment and all three services (users, products,
gateway) on AWS Fargate, and prints the URL, alone, on standard output. Takes
about 20 minutes the first time, and costs money from then on.

Run it again whenever it was interrupted or has failed: it looks at what stands,
waits for what moves, repairs what is broken and goes on. It asks before it
deletes a stack that may hold something.

  APP              name: a-z, 0-9 and -, a letter first, 2 to 20 characters
TEXT
    usage_common_options
    usage_value_options
    usage_change_options
    usage_exit_codes
}

usage_deploy() {
    cat <<'TEXT'
Usage: ./copilotw.sh deploy APP [SERVICE] [OPTIONS]

Builds and deploys what is in this directory, uncommitted changes included: one
service (gateway, users or products), or all, the gateway last. Nothing needs to
be committed; images are tagged with commit and time.
What is already deployed to the byte is left alone by Copilot; --force starts
new tasks all the same.

  --force          new tasks, though nothing has changed (engine copilot; the
                   other starts new ones at every deployment)
TEXT
    usage_common_options
    usage_value_options
    usage_change_options
    usage_exit_codes
}

usage_public() {
    cat <<'TEXT'
Usage: ./copilotw.sh public APP [OPTIONS]

Prints the gateway's URL, and nothing else, on standard output:

  curl "$(./copilotw.sh public app)/users" -H "authorization: Bearer $TOKEN"

TEXT
    usage_common_options
    usage_exit_codes
}

usage_status() {
    cat <<'TEXT'
Usage: ./copilotw.sh status APP [OPTIONS]

Lists stacks, services and the URL on standard output. Exits with 1 unless all
of it stands and every service has the tasks that it should have.

TEXT
    usage_common_options
    usage_exit_codes
}

usage_logs() {
    cat <<'TEXT'
Usage: ./copilotw.sh logs APP [SERVICE] [OPTIONS]

Prints what one service has logged, or all of them in turn.

  --since T        how far back, 1m to 24h (default 10m)
  --follow         go on until Ctrl-C; for one SERVICE
TEXT
    usage_common_options
    usage_exit_codes
}

usage_delete() {
    cat <<'TEXT'
Usage: ./copilotw.sh delete APP [OPTIONS]

Says what it will delete and asks; then deletes it: services, databases with
their rows, images, environments, the application. Run it again if it stopped
half-way. Engine copilot: all environments; cloudformation: the one of --env.

TEXT
    usage_common_options
    usage_change_options
    usage_exit_codes
}

usage_doctor() {
    cat <<'TEXT'
Usage: ./copilotw.sh doctor [OPTIONS]

Looks at the tools, the credentials, the region, Docker and a few quotas. Each
line on standard output is ok, warn or fail, with the remedy. Exits with 1 if
one of them is fail.

TEXT
    usage_common_options
    usage_exit_codes
}

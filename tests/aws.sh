#!/usr/bin/env bash
# Tests of what deploys: copilotw.sh over stubs of aws, copilot and docker (tests/stubs), which
# keep an account in files and say what the real ones say. `./copilotw.sh test` runs them, and so
# may you. Nothing here reaches AWS, and time passes only on the stubs' clock.
# shellcheck disable=SC2016 # backticks in what the script says are not commands
set -euo pipefail
unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN \
    AWS_DEFAULT_REGION AWS_CONFIG_FILE JWT_AUDIENCE_CLAIM JWT_SCOPE_PREFIX

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
scratch=$(mktemp -d)
server=''
trap '[ -z "$server" ] || kill "$server"; rm -rf "$scratch"' EXIT
export PATH=$root/tests/stubs:$PATH STUB_QUERIES=$scratch/queries
# Should the real AWS CLI be called all the same, it finds no credentials and nobody who listens.
export AWS_SHARED_CREDENTIALS_FILE=$scratch/none AWS_ENDPOINT_URL=http://127.0.0.1:9 AWS_EC2_METADATA_DISABLED=true
export AWS_REGION=eu-central-1 JWT_ISSUER=https://issuer.example/ JWT_AUDIENCE=api

# shellcheck source=tests/checks.sh
. "$root/tests/checks.sh"
# shellcheck source=tests/aws_account.sh
. "$root/tests/aws_account.sh"

test_usage() {
    local name
    new_account
    ends 'no name' 2 "init needs the application's name" init
    for name in A a 1a a_b 'a b' -a a.b äb aaaaaaaaaaaaaaaaaaaaa ''; do
        run init "$name"
        check "the name '$name' is refused" [ "$status/$out" = 2/ ]
        run init app --env "$name"
        check "the environment '$name' is refused" [ "$status/$out" = 2/ ]
    done
    ends 'two names' 2 'what is `other`?' init app other
    ends 'three names' 2 'what is `x`?' deploy app users x
    ends 'a near miss of a service' 2 'did you mean `gateway`?' deploy app gatway
    ends 'an unknown service' 2 'the services are: users products gateway' logs app database
    ends 'a near miss of an option' 2 'did you mean `--region`?' status app --regoin x
    ends 'a near miss of an engine' 2 'did you mean `copilot`?' init app --engine copliot
    ends 'a near miss of a command' 2 'did you mean `deploy`?' deplyo app
    ends 'an option of another command' 2 'public does not know `--yes`' public app --yes
    ends 'a missing value' 2 '--env needs a value' init app --env
    for name in 59s 7h 30 m 1d 030m -1m 99999999m; do
        ends "--wait $name" 2 '--wait must be a time from 1m to 6h' init app --wait "$name"
    done
    ends 'no region' 2 'such as eu-central-1' init app --region europe
    ends 'an issuer without https' 2 'must be an https URL' init app --jwt-issuer http://issuer.example
    ends 'an audience that is no YAML' 2 'must have no spaces' deploy app --jwt-audience 'a"b'
    ends 'a parameter for Copilot' 2 'is for --engine cloudformation' init app --parameter DomainName=x.example
    ends 'a parameter without a value' 2 'must be NAME=VALUE' init app --engine cloudformation --parameter DomainName
    ends 'a near miss of a parameter' 2 'did you mean `DomainName`?' init app --engine cloudformation --parameter DomianName=x
    ends 'following all logs' 2 '--follow is for one service' logs app --follow
    ends 'doctor takes no name' 2 'takes no name' doctor app
    check 'nobody was called' [ ! -e "$STUB_STATE/calls" ]
}

test_happy() {
    new_account
    run init app
    check 'init: exit code' [ "$status" -eq 0 ]
    check 'init prints the URL alone' [ "$out" = http://app-test.elb.amazonaws.com ]
    check 'init leaves everything' copilot_stands
    check 'the first deployment tags with commit and time' \
        grep -q "^copilot deploy .* --tag $(git -C "$work" rev-parse --short HEAD)-1[0-9]* " "$STUB_STATE/calls"
    check 'services are deployed in order' called '--all --name users/1,products/1,gateway/2'
    check 'the environment is not deployed along' called '--deploy-env=false'
    check 'init works on this clone alone' [ "$(cat "$work/copilot/.workspace")" = 'application: app' ]
    check 'no question about profiles' called 'env init --app app --name test --region eu-central-1 --default-config'

    run init app
    check 'init again: exit code' [ "$status" -eq 0 ]
    check 'init again: the environment is not made twice' [ "$(times 'copilot env init')" -eq 1 ]
    check 'a change set without changes is no failure' contains "$err" 'has no changes'

    : >"$STUB_STATE/calls"
    run deploy app
    check 'the same commit: exit code' [ "$status" -eq 0 ]
    check 'the same commit: nothing to change' contains "$err" 'stack app-test-users has no changes'
    run deploy app users --force
    check 'deploy --force' contains "$err" 'Forcing an update for service users'
    check 'each deployment has a tag of its own' \
        [ "$(sed -n 's/.*--tag \([^ ]*\).*/\1/p' "$STUB_STATE/calls" | sort -u | wc -l)" -eq 2 ]

    echo two >"$work/content"
    local before
    before=$(git -C "$work" rev-parse HEAD)
    run deploy app products
    check 'uncommitted changes: exit code' [ "$status" -eq 0 ]
    check 'uncommitted changes are said' contains "$err" 'not committed'
    check 'uncommitted changes are deployed' [ "$(cat "$STUB_STATE/values/app-test-products")" = two ]
    check 'one service alone' [ "$(cat "$STUB_STATE/values/app-test-users")" = one ]
    check 'no commit was made' [ "$(git -C "$work" rev-parse HEAD)" = "$before" ]
    git -C "$work" checkout --quiet content

    run status app
    check 'status: exit code' [ "$status" -eq 0 ]
    check 'status lists stacks' contains "$out" 'app-test-gateway'
    check 'status lists tasks' contains "$out" '2 of 2 tasks, COMPLETED'
    check 'status has the URL' contains "$out" 'url      http://app-test.elb.amazonaws.com'
    STUB_RUNNING=1 run status app
    check 'status fails with too few tasks' [ "$status" -eq 1 ]

    run logs app users --since 1h
    check 'logs of one service' [ "$out" = '2026-11-23T09:00:00 /copilot/app-test-users hello' ]
    check 'logs: options' called 'logs tail /copilot/app-test-users --since 1h --format short'
    STUB_AWS=1.45.11 ends 'logs with an old AWS CLI' 1 'only version 2' logs app users
    run logs app
    check 'logs of all' contains "$out" /copilot/app-test-gateway

    ends 'delete without a terminal' 1 './copilotw.sh delete app --yes' delete app
    check 'delete says what it would delete' contains "$err" 'app-test-gateway'
    check 'nothing was deleted' copilot_stands
    run delete app --yes
    check 'delete: exit code' [ "$status" -eq 0 ]
    check 'delete leaves nothing' nothing_stands
    check 'delete forgets the workspace' [ ! -e "$work/copilot/.workspace" ]
    ends 'delete again' 0 'Nothing of app stands' delete app --yes
}

test_cloudformation() {
    new_account
    local name names='--engine cloudformation'
    # shellcheck disable=SC2086 # two words
    run init app $names
    check 'cloudformation: init' [ "$status" -eq 0 ]
    check 'cloudformation: the URL alone, without the last slash' [ "$out" = http://app-test.elb.amazonaws.com ]
    check 'cloudformation: everything stands' cloudformation_stands
    check 'cloudformation: no Copilot' not_called 'copilot '
    check 'cloudformation: the target of the Dockerfile' called 'docker build --platform linux/amd64 --target products --tag'
    check 'cloudformation: the architecture' grep -q '^Architecture=X86_64$' "$STUB_STATE/values/app-test"
    check 'cloudformation: rights' called '--capabilities CAPABILITY_IAM --no-fail-on-empty-changeset'

    local before
    before=$(grep UsersImage "$STUB_STATE/values/app-test")
    JWT_ISSUER=https://new.example run deploy app products --engine cloudformation
    check 'cloudformation: another service leaves the gateway alone' cloudformation_stands
    STUB_ARCHITECTURE=arm64 JWT_ISSUER='' JWT_AUDIENCE='' run deploy app gateway --engine=cloudformation
    check 'cloudformation: deploy keeps what is deployed' [ "$status" -eq 0 ]
    check 'cloudformation: one service alone' [ "$(grep UsersImage "$STUB_STATE/values/app-test")" = "$before" ]
    check 'cloudformation: the architecture stays' called 'docker build --platform linux/amd64 --target gateway --tag'
    check 'cloudformation: still whole' cloudformation_stands

    # shellcheck disable=SC2086
    run init app $names
    check 'cloudformation: no changes are no failure' contains "$err" 'app-test-repositories is up to date'
    ends 'cloudformation: status' 0 '' status app --engine cloudformation
    run logs app --engine cloudformation
    check 'cloudformation: logs' contains "$out" '/gateway/app-test/Users hello'
    ends 'the other engine has it' 1 'add --engine cloudformation' init app

    echo '1 UPDATE_ROLLBACK_COMPLETE' >"$STUB_STATE/fate/app-test"
    ends 'cloudformation: a rolled back update' 1 'Circuit Breaker was triggered' deploy app --engine cloudformation
    echo '1 DELETE_FAILED' >"$STUB_STATE/fate/app-test"
    run delete app --engine cloudformation --yes
    check 'cloudformation: delete tries twice' [ "$status/$(times 'delete-stack --stack-name app-test ')" = 0/2 ]
    check 'cloudformation: nothing is left' nothing_stands

    STUB_ARCHITECTURE=arm64 run init app --engine cloudformation --parameter DomainName=api.example
    check 'cloudformation: further parameters' grep -q '^DomainName=api.example$' "$STUB_STATE/values/app-test"
    check 'cloudformation: arm64' grep -q '^Architecture=ARM64$' "$STUB_STATE/values/app-test"
    rm -f "$STUB_STATE/stacks"/*
    for name in ROLLBACK_COMPLETE REVIEW_IN_PROGRESS; do
        set_stack app-test "$name" none
        run init app --engine cloudformation
        check "cloudformation: $name is made anew" [ "$status/$(cat "$STUB_STATE/stacks/app-test")" = 0/CREATE_COMPLETE ]
    done
    set_stack app-test ROLLBACK_COMPLETE none
    rm -f "$STUB_STATE/calls"
    JWT_ISSUER='' JWT_AUDIENCE='' run deploy app gateway --engine cloudformation
    check 'cloudformation: what was never whole gets all images' [ "$status/$(times 'docker push')" = 0/3 ]
    check 'cloudformation: and keeps its values' cloudformation_stands
    new_account
    : >"$STUB_STATE/parameters/,copilot,applications,app"
    ends 'Copilot has it' 1 'leave out --engine cloudformation' init app --engine cloudformation
}

# The table of troubles.
test_application_troubles() {
    # `app init` interrupted: the stack moves, then stands without its parameter.
    new_account
    set_stack app-infrastructure-roles 'CREATE_IN_PROGRESS CREATE_COMPLETE 3'
    echo copilot-application >"$STUB_STATE/roles/app-adminrole"
    : >"$STUB_STATE/sets/app-infrastructure"
    ends 'a half-made application needs consent' 1 './copilotw.sh init app --yes' init app
    check 'it was waited for' contains "$err" 'app-infrastructure-roles: CREATE_IN_PROGRESS for'
    check 'it was not deleted' not_called delete-stack
    run init app --yes
    check 'a half-made application is made anew' [ "$status/$out" = 0/http://app-test.elb.amazonaws.com ]
    check 'the StackSet went first' [ "$(grep -o 'delete-stack[a-z-]*' "$STUB_STATE/calls" | tr '\n' ' ')" = 'delete-stack-set delete-stack ' ]
    check 'and stands' copilot_stands

    # The same, with instances in the StackSet.
    new_account
    set_stack app-infrastructure-roles CREATE_COMPLETE
    echo copilot-application >"$STUB_STATE/roles/app-adminrole"
    echo '123456789012 eu-central-1' >"$STUB_STATE/sets/app-infrastructure"
    run init app --yes
    check 'instances of the StackSet go before it' [ "$status" -eq 0 ]
    check 'their accounts and regions' called '--accounts 123456789012 --regions eu-central-1 --no-retain-stacks'

    # delete, where Copilot "couldn't find an application".
    new_account
    set_stack app-infrastructure-roles CREATE_COMPLETE
    set_stack app-test CREATE_COMPLETE
    echo copilot-application >"$STUB_STATE/roles/app-adminrole"
    : >"$STUB_STATE/sets/app-infrastructure"
    echo 'application: app' >"$work/copilot/.workspace"
    run delete app --yes
    check 'delete without the parameter' [ "$status" -eq 0 ]
    check 'Copilot was not asked' not_called 'copilot app delete'
    check 'nothing is left' nothing_stands
    check 'the workspace is forgotten' [ ! -e "$work/copilot/.workspace" ]

    # An application of the same name elsewhere.
    new_account
    printf 'copilot-application app\naws:cloudformation:stack-id arn:aws:cloudformation:us-east-1:123456789012:stack/app-infrastructure-roles/1\n' \
        >"$STUB_STATE/roles/app-adminrole"
    ends 'another region' 1 'is in another region of this account, us-east-1, not in eu-central-1' init app
    ends 'another region: delete' 1 'another region' delete app --yes
    echo owner somebody >"$STUB_STATE/roles/app-adminrole"
    ends "somebody else's role" 1 'that Copilot did not make' init app
    fault aws.iam.list-role-tags 1 denied
    rm "$STUB_STATE/roles/app-adminrole"
    run init app
    check 'without the right to look at roles' [ "$status" -eq 0 ]

    # Another application's workspace.
    new_account
    echo 'application: other' >"$work/copilot/.workspace"
    ends "another application's workspace" 1 'rm copilot/.workspace' init app
    check 'nothing was made' not_called 'copilot app'

    # Another application whose name begins alike stays.
    new_account
    run init app
    set_stack app-x-test CREATE_COMPLETE app-x
    run delete app --yes
    check 'app-x is not app' stack_is app-x-test CREATE_COMPLETE
}

test_stack_troubles() {
    local state
    new_account
    run init app

    set_stack app-test-users REVIEW_IN_PROGRESS
    run deploy app
    check 'REVIEW_IN_PROGRESS: exit code' [ "$status" -eq 0 ]
    check 'REVIEW_IN_PROGRESS is deleted, after a while' contains "$err" 'Nobody goes on with it'
    check 'REVIEW_IN_PROGRESS: made anew' stack_is app-test-users CREATE_COMPLETE
    set_stack app-test-users 'REVIEW_IN_PROGRESS CREATE_COMPLETE 3'
    : >"$STUB_STATE/calls"
    run deploy app
    check 'a review that goes on is left alone' not_called delete-stack

    set_stack app-test-users ROLLBACK_COMPLETE
    rm "$STUB_STATE/values/app-test-users"
    run deploy app
    check 'ROLLBACK_COMPLETE is made anew' [ "$status" -eq 0 ]
    check 'ROLLBACK_COMPLETE: stands' copilot_stands
    check 'ROLLBACK_COMPLETE: why' contains "$err" 'Circuit Breaker was triggered'
    echo '1 ROLLBACK_COMPLETE' >"$STUB_STATE/fate/app-test-users"
    set_stack app-test-users GONE
    rm -f "$STUB_STATE/stacks/app-test-users" "$STUB_STATE/values/app-test-users"
    run deploy app
    check 'rolled back while deploying: once more' [ "$status/$(copilot_stands && echo stands)" = 0/stands ]
    check 'rolled back while deploying: said' contains "$err" 'Repaired; running it again'

    for state in ROLLBACK_FAILED DELETE_FAILED CREATE_FAILED; do
        set_stack app-test-users "$state"
        rm -f "$STUB_STATE/values/app-test-users"
        ends "$state needs consent" 1 "deploy app --yes" deploy app
        check "$state was not deleted" stack_is app-test-users "$state"
        run deploy app --yes
        check "$state is made anew" [ "$status/$(copilot_stands && echo stands)" = 0/stands ]
    done
    set_stack app-test-users DELETE_FAILED
    echo '2 DELETE_FAILED' >"$STUB_STATE/fate/app-test-users"
    ends 'a stack that cannot be deleted' 1 'could not be repaired' deploy app --yes
    rm -f "$STUB_STATE/fate/app-test-users"
    set_stack app-test-users UPDATE_ROLLBACK_FAILED
    run deploy app
    check 'UPDATE_ROLLBACK_FAILED is rolled back' [ "$status/$(times continue-update-rollback)" = 0/1 ]

    set_stack app-test 'UPDATE_IN_PROGRESS UPDATE_COMPLETE 20'
    run init app
    check 'a stack in progress is waited for' [ "$status" -eq 0 ]
    check 'a line every 30 s and no more' [ "$(grep -c '^app-test: UPDATE_IN_PROGRESS for' "$scratch/err")" -eq 4 ]
    set_stack app-test 'UPDATE_IN_PROGRESS UPDATE_COMPLETE 1000'
    ends 'the wait has a bound' 1 'app-test is still UPDATE_IN_PROGRESS after 2m' init app --wait 2m
    check 'the remedy' contains "$err" 'Go on with: ./copilotw.sh init app --wait 2m'
}

test_other_troubles() {
    new_account
    fault aws.any 3 throttled
    run init app
    check 'throttled answers are asked again' [ "$status" -eq 0 ]
    fault aws.cloudformation.describe-stacks 99 throttled
    ends 'throttled for ever' 1 'Rate exceeded' init app
    rm "$STUB_STATE/faults/aws.cloudformation.describe-stacks"
    fault aws.any 99 unreachable
    ends 'no network' 1 'AWS cannot be reached' status app
    fault aws.any 1 expired
    ends 'expired credentials' 1 'aws configure' deploy app
    fault aws.any 1 expired
    ends 'expired credentials of a profile' 1 'aws sso login --profile dev' deploy app --profile dev
    fault aws.any 1 expired
    AWS_ACCESS_KEY_ID=x ends 'expired credentials of the environment' 1 'those of AWS_ACCESS_KEY_ID' deploy app
    rm -f "$STUB_STATE/faults"/*
    fault aws.ssm.get-parameter 1 denied
    ends 'a right is missing' 1 'Use those of an administrator' deploy app
    fault docker.info 1 stopped
    ends 'docker does not run' 1 'its daemon does not answer' deploy app
    STUB_COPILOT=v1.29.0 ends 'an old copilot' 1 'copilot is 1.29.0, and only from 1.30' deploy app
    STUB_COPILOT=nonsense ends 'an unknown copilot' 1 'of an unknown version' deploy app
    STUB_COPILOT=v2.0.0 run deploy app
    check 'a copilot of the future' [ "$status" -eq 0 ]
    fault copilot.deploy 1 broken
    ends 'a build that fails' 1 'the lines above say why' deploy app
    check 'a build that fails is not tried twice' contains "$err" 'docker build: exit status 1'
    JWT_ISSUER='' JWT_AUDIENCE='' run deploy app
    check 'issuer and audience stay as deployed' [ "$status" -eq 0 ]
    check 'really' [ "$(cat "$STUB_STATE/values/deployed")" = 'https://issuer.example/ api' ]
    run status other
    check 'status of nothing' [ "$status/$(grep -c 'missing$\|none$' "$scratch/out")" = 1/7 ]
    ends 'not there' 1 './copilotw.sh init other' deploy other

    new_account
    JWT_ISSUER='' ends 'no issuer' 2 'JWT_ISSUER' init app
    JWT_AUDIENCE='' ends 'no audience' 2 'JWT_AUDIENCE' init app
    JWT_AUDIENCE='' ends 'no audience for cloudformation' 2 'JWT_AUDIENCE' init app --engine cloudformation
    check 'nothing was begun without' not_called 'copilot app'
    AWS_REGION='' ends 'no region' 1 'no region is set' init app
    echo eu-west-1 >"$STUB_STATE/region"
    AWS_REGION='' run init app
    check "the profile's region" [ "$status/$(times '--region eu-west-1')" = 0/1 ]

    # A file with profiles makes `env init` ask, unless one is named.
    new_account
    printf 'default\ndev\n' >"$STUB_STATE/profiles"
    run init app
    check 'the default profile is named' called '--default-config --profile default'
    new_account
    printf 'dev\n' >"$STUB_STATE/profiles"
    AWS_ACCESS_KEY_ID=x run init app
    check 'credentials of the environment: no question' [ "$status" -eq 0 ]
    new_account
    printf 'dev\n' >"$STUB_STATE/profiles"
    run init app --profile dev --region eu-west-1
    check '--profile and --region' called '--region eu-west-1 --default-config --profile dev'
    local bin=$scratch/bin program
    mkdir -p "$bin"
    for program in bash sh dirname basename cat mktemp rm git sed awk grep tr head sort wc cut cp mkdir ls kill uname expr env; do
        ln -sf "$(command -v "$program")" "$bin/$program"
    done
    for program in aws docker sleep date state.sh; do
        ln -sf "$root/tests/stubs/$program" "$bin/$program"
    done
    PATH=$bin ends 'no copilot' 1 'https://github.com/aws/copilot-cli/releases' deploy app
    new_account
    PATH=$bin run init app --engine cloudformation
    check 'cloudformation needs no copilot' [ "$status" -eq 0 ]
    rm "$bin/aws"
    PATH=$bin ends 'no aws' 1 'the AWS CLI is missing' status app
    rm "$bin/docker"
}

test_delete_halfway() {
    new_account
    run init app
    fault copilot.app.delete 1 halfway
    run delete app --yes
    check 'a deletion that stops half-way is run again' [ "$status/$(times 'copilot app delete')" = 0/2 ]
    check 'and leaves nothing' nothing_stands

    run init app
    fault copilot.app.delete 2 halfway
    ends 'a deletion that stops twice' 1 'Still there:' delete app --yes
    check 'lists what stands' contains "$err" 'app-infrastructure-roles'
    check 'says how to go on' contains "$err" 'go on with: ./copilotw.sh delete app --yes'
    run delete app --yes
    check 'and can be gone on with' nothing_stands

    # An environment that Copilot does not know of, since it was interrupted while it was made.
    run init app
    rm "$STUB_STATE/parameters/,copilot,applications,app,environments,test"
    run delete app --yes
    check 'what Copilot forgets is deleted' nothing_stands
}

test_public() {
    new_account
    routes null
    ends 'not deployed' 1 './copilotw.sh init app' public app
    echo lb.example >"$STUB_STATE/outputs/app-test.PublicLoadBalancerDNSName"
    set_stack app-test CREATE_COMPLETE
    run public app
    check 'routes are null: the output of the stack' [ "$status/$out/$err" = 0/http://lb.example/ ]
    routes '[{"environment":"prod","url":"http://prod.example"},{"environment":"test","url":"http://a.example, http://b.example, or http://c.example"}]'
    run public app
    check 'English with several addresses: the first' [ "$out" = http://a.example ]
    run public app --env prod
    check 'the environment' [ "$out" = http://prod.example ]
    routes '[{"environment":"test","url":"https://a.example/api/ or nothing"}]'
    run public app
    check 'no last slash' [ "$out/$err" = https://a.example/api/ ]
}

test_public_feeds_curl() {
    new_account
    mkdir -p "$scratch/site"
    echo '[{"id":1,"name":"Tom","age":32}]' >"$scratch/site/users"
    python3 -u -c 'import functools, http.server, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.HTTPServer(("127.0.0.1", 0), handler)
print(server.server_port)
server.serve_forever()' "$scratch/site" >"$scratch/port" 2>/dev/null &
    server=$!
    until [ -s "$scratch/port" ]; do
        /bin/sleep 0.05
    done
    routes "[{\"environment\":\"test\",\"url\":\"http://127.0.0.1:$(cat "$scratch/port")\"}]"
    status=0
    out=$(curl --silent --show-error --noproxy '*' "$("$work/copilotw.sh" public app 2>"$scratch/err")/users") || status=$?
    err=$(cat "$scratch/err")
    check 'public feeds curl' [ "$status/$out/$err" = '0/[{"id":1,"name":"Tom","age":32}]/' ]
}

test_doctor() {
    new_account
    run doctor
    check 'doctor: exit code' [ "$status" -eq 0 ]
    check 'doctor: the end of support' contains "$out" "warn  copilot      1.34.1; AWS supports Copilot no more since 2026-06-12"
    check 'doctor: credentials' contains "$out" 'ok    credentials  arn:aws:iam::123456789012:user/dev'
    check 'doctor: quotas' contains "$out" 'ok    VPCs         1 of 5 used'
    echo 20260101 >"$STUB_STATE/today"
    run doctor
    check 'doctor: before the end of support' contains "$out" 'ok    copilot      1.34.1; supported until 2026-06-12'
    STUB_USED=5 run doctor
    check 'doctor: a full quota warns' contains "$out" 'warn  VPCs         5 of 5 used, and a new environment needs 1'
    check 'doctor: a warning is no failure' [ "$status" -eq 0 ]
    fault aws.service-quotas.get-service-quota 2 denied
    run doctor
    check 'doctor: quotas may be hidden' contains "$out" 'could not be read'
    STUB_AWS=1.45.11 STUB_COPILOT=v1.29.3 run doctor
    check 'doctor: old versions' [ "$status/$(grep -c '^fail' "$scratch/out")" = 1/2 ]
    run doctor --engine cloudformation
    check 'doctor: no copilot needed' contains "$out" 'not needed for --engine cloudformation'
    fault aws.sts.get-caller-identity 9 expired
    fault docker.version 1 stopped
    run doctor
    check 'doctor: credentials fail' contains "$out" 'fail  credentials'
    check 'doctor: docker fails' contains "$out" 'fail  docker       its daemon does not answer'
    AWS_REGION='' run doctor
    check 'doctor: no region' contains "$out" 'fail  region       none is set; add --region'
}

test_terminal() {
    new_account
    run init app
    answer $'n\n' "$work/copilotw.sh" delete app
    check 'no is no' [ "$status" -eq 1 ]
    check 'no: said' contains "$out" 'nothing was deleted'
    check 'no: stands' copilot_stands
    set_stack app-test 'UPDATE_IN_PROGRESS UPDATE_COMPLETE 9'
    answer $'y\n' "$work/copilotw.sh" delete app
    check 'yes is yes' [ "$status" -eq 0 ]
    check 'one line of progress that changes' contains "$out" $'\rapp-test: UPDATE_IN_PROGRESS for'
    check 'yes: gone' nothing_stands
}

# The queries, which the stubs do not evaluate, over what AWS answers: with jmespath, the AWS CLI's
# own, which `./copilotw.sh test` has installed along with moto.
test_queries() {
    local python=$root/.venv/bin/python
    status='' out='' err=''
    if ! "$python" -c 'import jmespath' 2>/dev/null; then
        printf 'aws.sh: the queries are not tested, since .venv has no jmespath; ./copilotw.sh test installs it\n' >&2
        return
    fi
    out=$("$python" "$root/tests/queries.py" <"$scratch/queries" 2>&1) || status=$?
    check 'queries mean what they should' [ -z "$status" ]
}

# interrupt_each LABEL STANDS ARGUMENT...: Ctrl-C at each checkpoint of the command, then the
# command again; prepare_ACCOUNT makes the account each time. Runs aside; reports on standard output.
interrupt_each() {
    local prepare=$1 stands=$2 last at
    shift 2
    work=$scratch/$prepare
    clone "$work"
    account "$scratch/$prepare.account"
    "$prepare"
    echo 0 >"$STUB_STATE/count"
    "$work/copilotw.sh" "$@" >/dev/null 2>&1 </dev/null || printf 'FAILED: %s: the command itself\n' "$prepare"
    last=$(cat "$STUB_STATE/count")
    at=1
    while [ "$at" -le "$last" ]; do
        account "$STUB_STATE"
        "$prepare"
        echo 0 >"$STUB_STATE/count"
        echo "$at" >"$STUB_STATE/interrupt"
        # In a process group of its own, for the stub interrupts the whole group.
        set -m
        "$work/copilotw.sh" "$@" >"$work.out" 2>"$work.err" </dev/null &
        set +m
        status=0
        wait "$!" || status=$?
        rm "$STUB_STATE/interrupt"
        if [ "$status" -ne 130 ] || ! grep -q '^Go on with: ' "$work.err"; then
            printf 'FAILED: %s, Ctrl-C at %s of %s: ended with %s after\n%s\n' "$prepare" "$at" "$last" "$status" "$(tail -n 5 "$work.err")"
        else
            echo passed
        fi
        status=0
        "$work/copilotw.sh" "$@" >"$work.out" 2>"$work.err" </dev/null || status=$?
        if [ "$status" -ne 0 ] || ! "$stands"; then
            printf 'FAILED: %s, again after Ctrl-C at %s of %s: ended with %s\n%s\n' "$prepare" "$at" "$last" "$status" "$(tail -n 5 "$work.err")"
        else
            echo passed
        fi
        at=$((at + 1))
    done
    printf '%s: Ctrl-C at %s places\n' "$prepare" "$last"
}

init_copilot() { :; }
init_cloudformation() { :; }
deploy_copilot() { made init app && echo two >"$work/content"; }
deploy_cloudformation() { made init app --engine cloudformation; }
delete_copilot() { made init app; }
delete_cloudformation() { made init app --engine cloudformation; }

# made COMMAND...: what the command leaves, from a copy after the first time.
made() {
    if [ -d "$work.made" ]; then
        cp -R "$work.made/." "$STUB_STATE"
        cp "$work.workspace" "$work/copilot/.workspace" 2>/dev/null || true
    else
        "$work/copilotw.sh" "$@" >/dev/null 2>&1 </dev/null
        rm "$STUB_STATE/calls"
        cp -R "$STUB_STATE" "$work.made"
        cp "$work/copilot/.workspace" "$work.workspace" 2>/dev/null || true
    fi
}

# In two rows, beside the other tests, since these are most of the work.
start_interruptions() {
    (
        interrupt_each init_copilot copilot_stands init app --yes
        interrupt_each delete_copilot nothing_stands delete app --yes
        interrupt_each delete_cloudformation nothing_stands delete app --engine cloudformation --yes
    ) >"$scratch/row.1" 2>&1 &
    rows=$!
    (
        interrupt_each init_cloudformation cloudformation_stands init app --engine cloudformation --yes
        interrupt_each deploy_copilot copilot_stands deploy app --yes
        interrupt_each deploy_cloudformation cloudformation_stands deploy app --engine cloudformation --yes
    ) >"$scratch/row.2" 2>&1 &
    rows="$rows $!"
}

test_interruptions() {
    # shellcheck disable=SC2086 # one word for each row
    wait $rows
    passed=$((passed + $(cat "$scratch"/row.? | grep -c '^passed$' || true)))
    failed=$((failed + $(cat "$scratch"/row.? | grep -c '^FAILED' || true)))
    grep -hv '^passed$' "$scratch"/row.? || true
}

# Copilot takes Ctrl-C while it deploys for a wish to undo, and ends with 0; that is no success.
test_undone() {
    new_account
    run init app
    echo two >"$work/content"
    fault copilot.deploy 1 undone
    set -m
    "$work/copilotw.sh" deploy app >"$scratch/out" 2>"$scratch/err" </dev/null &
    set +m
    status=0
    wait "$!" || status=$?
    out=$(cat "$scratch/out") err=$(cat "$scratch/err")
    check 'undone by Copilot: exit code' [ "$status/$out" = 130/ ]
    check 'undone by Copilot: what stands' contains "$err" 'app-test-users	UPDATE_ROLLBACK_COMPLETE'
    run deploy app
    check 'undone by Copilot: again' [ "$status/$(copilot_stands && echo stands)" = 0/stands ]
}

work=$scratch/clone
script=$work/copilotw.sh
clone "$work"
parts=${*:-usage happy cloudformation application_troubles stack_troubles other_troubles delete_halfway \
    public public_feeds_curl doctor terminal undone queries interruptions}
rows=''
case $parts in
    *interruptions*) start_interruptions ;;
esac
for part in $parts; do
    "test_$part"
done

printf 'aws.sh: %s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]

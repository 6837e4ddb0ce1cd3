# shellcheck shell=bash
# Sourced by copilotw.sh: CloudFormation stacks: looking, waiting, repairing, deleting.

# Status of the stack that was looked at last; empty when there is none.
stack=''

# Between two looks at a stack, and between two lines of progress where no terminal is.
readonly LOOK_PAUSE_S=5 LINE_PAUSE_S=30
# A stack in REVIEW_IN_PROGRESS that is older than this was given up: it has no resources yet, and
# whoever makes it needs some seconds.
readonly REVIEW_MOST_S=60
# Repairs of one stack in one go: wait, delete, wait, and a reserve.
readonly REPAIRS_MOST=5

# What is being done, and what was reached: for the message after Ctrl-C.
doing='looking at what is there' again='' ready=no

# begin WHAT: the next step.
begin() {
    doing=$1
    say "==> $1"
}

now_s() {
    date +%s
}

# look STACK
look() {
    if ask cloudformation describe-stacks --stack-name "$1" --query 'Stacks[0].StackStatus'; then
        stack=$answer
        return
    fi
    case $refusal in
        *'does not exist'*) stack='' ;;
        *) refused "reading the stack $1" ;;
    esac
}

progress_shown=no progress_s=0

# progress NOW LINE: one line that changes on a terminal, a line now and then elsewhere.
progress() {
    if [ -t 2 ]; then
        printf '\r%s\033[K' "$2" >&2
        progress_shown=yes
    elif [ "$progress_shown" = no ] || [ $(($1 - progress_s)) -ge "$LINE_PAUSE_S" ]; then
        say "$2"
        progress_shown=yes
        progress_s=$1
    fi
}

end_progress() {
    if [ "$progress_shown" = yes ] && [ -t 2 ]; then
        printf '\n' >&2
    fi
    progress_shown=no
}

# wait_for STACK [MOST-SECONDS]: until it rests, is gone, or the time is over (returns 1).
wait_for() {
    local most_s=${2:-$wait_s} started_s now
    started_s=$(now_s)
    while :; do
        look "$1"
        case $stack in
            *_IN_PROGRESS) ;;
            *)
                end_progress
                return 0
                ;;
        esac
        now=$(now_s)
        if [ $((now - started_s)) -ge "$most_s" ]; then
            end_progress
            return 1
        fi
        progress "$now" "$1: $stack for $(readable_s $((now - started_s))), waiting at most $(readable_s "$most_s")"
        sleep "$LOOK_PAUSE_S"
    done
}

# rest STACK: waits until it rests, or ends the script.
rest() {
    wait_for "$1" ||
        fail "$1 is still $stack after $(readable_s "$wait_s"); CloudFormation goes on with it.
Go on with: $again   (or wait longer: --wait 2h)"
}

# settle STACK: makes it rest in a state from which it can be deployed, or be gone. Leaves yes in
# $settled when something had to be done.
settle() {
    local repairs=0
    settled=no
    while :; do
        look "$1"
        case $stack in
            '' | CREATE_COMPLETE | UPDATE_COMPLETE | UPDATE_ROLLBACK_COMPLETE | IMPORT_COMPLETE | IMPORT_ROLLBACK_COMPLETE)
                return 0
                ;;
        esac
        settled=yes
        repairs=$((repairs + 1))
        [ "$repairs" -le "$REPAIRS_MOST" ] || give_up "$1"
        repair "$1"
    done
}

# repair STACK: one step towards rest.
repair() {
    case $stack in
        REVIEW_IN_PROGRESS)
            say "$1 is in REVIEW_IN_PROGRESS: a deployment was given up, or has just begun."
            if ! wait_for "$1" "$REVIEW_MOST_S"; then
                case $stack in
                    REVIEW_IN_PROGRESS)
                        say "Nobody goes on with it, and it has no resources yet: deleting $1."
                        order_deletion "$1"
                        rest_of_deletion "$1"
                        ;;
                esac
            fi
            ;;
        *_IN_PROGRESS)
            say "$1 is moving; waiting for it."
            rest "$1"
            ;;
        ROLLBACK_COMPLETE)
            say "$1 was rolled back when it was made, and has no resources: deleting it."
            explain "$1"
            order_deletion "$1"
            rest_of_deletion "$1"
            ;;
        UPDATE_ROLLBACK_FAILED)
            say "$1 could not be rolled back:"
            explain "$1"
            say 'Trying that again.'
            must "rolling back $1" cloudformation continue-update-rollback --stack-name "$1"
            rest "$1"
            ;;
        *)
            say "$1 is in $stack and can only be deleted:"
            explain "$1"
            confirm "Delete the stack $1 and what is left in it?"
            order_deletion "$1"
            rest_of_deletion "$1"
            ;;
    esac
}

give_up() {
    explain "$1"
    fail "$1 is in $stack, and that could not be repaired.
Look at it in the console (CloudFormation, $AWS_REGION), delete it there with the resources that it names retained, then go on with: $again"
}

# explain STACK: what failed in it, newest first. Only told, so an error here is none.
explain() {
    ask cloudformation describe-stack-events --stack-name "$1" --max-items 60 \
        --query "StackEvents[?contains(ResourceStatus,'FAILED') && ResourceStatusReason!='Resource creation cancelled'].[LogicalResourceId,ResourceStatus,ResourceStatusReason]" ||
        return 0
    case $answer in
        '' | None) ;;
        # --max-items adds a last line for the next page.
        *) printf '%s\n' "$answer" | awk '$1 != "None" && ++lines <= 5 { print "  " $0 }' >&2 ;;
    esac
}

order_deletion() {
    must "deleting the stack $1" cloudformation delete-stack --stack-name "$1"
}

# rest_of_deletion STACK: a deletion that fails is ordered once more. Then settle gives up.
rest_of_deletion() {
    rest "$1"
    [ "$stack" = DELETE_FAILED ] || return 0
    say "$1 could not be deleted; trying once more."
    explain "$1"
    order_deletion "$1"
    rest "$1"
    [ "$stack" != DELETE_FAILED ] || give_up "$1"
}

# remove_stack STACK: gone when this returns.
remove_stack() {
    look "$1"
    case $stack in
        '') return 0 ;;
        REVIEW_IN_PROGRESS) ;;
        *_IN_PROGRESS) rest "$1" ;;
    esac
    [ -n "$stack" ] || return 0
    order_deletion "$1"
    rest_of_deletion "$1"
}

# confirm QUESTION: goes on, or ends the script.
confirm() {
    local reply
    [ "$assume_yes" = no ] || return 0
    [ -t 0 ] || fail "$1
There is no terminal to answer on. If that is what you want: $again --yes"
    printf '%s [y/N] ' "$1" >&2
    read -r reply || reply=''
    case $reply in
        y | Y | yes) ;;
        *) fail 'nothing was deleted' ;;
    esac
}

# On Ctrl-C: what was being done, what stands and how to go on. A second one ends it at once.
interrupted() {
    trap 'exit 130' INT TERM HUP
    end_progress
    # To follow logs is ended like this.
    [ "$command_running" != logs ] || exit 130
    say ''
    say "Interrupted while $doing."
    say "Go on with:    $again"
    case $command_running in
        init | deploy)
            say 'What CloudFormation has begun goes on by itself.'
            say "Take it down:  ./copilotw.sh delete $app$(common_arguments)"
            ;;
        delete) say 'What CloudFormation has begun to delete goes on by itself.' ;;
    esac
    if [ "$ready" = yes ]; then
        say 'What stands (Ctrl-C again to leave at once):'
        answer=$(AWS_MAX_ATTEMPTS=1 aws cloudformation describe-stacks --query "$(stacks_query)" --output text \
            --cli-connect-timeout 5 --cli-read-timeout 10 2>/dev/null) || answer='(AWS did not say)'
        printf '%s\n' "${answer:-nothing}" | sed 's/^/  /' >&2
    fi
    exit 130
}

# The options that lead another command to the same place.
common_arguments() {
    [ "$engine" = copilot ] || printf ' --engine %s' "$engine"
    [ "$environment" = test ] || printf ' --env %s' "$environment"
    printf ' --region %s' "${AWS_REGION:-}"
    [ -z "${AWS_PROFILE:-}" ] || printf ' --profile %q' "$AWS_PROFILE"
}

# What describe-stacks is asked, so that it lists the stacks of this application, one a line.
stacks_query() {
    local name=$app-$environment which
    if [ "$engine" = cloudformation ]; then
        which="StackName=='$name' || StackName=='$name-repositories'"
    else
        # By tag, so that the application `shop` does not get the stacks of `shop-x`.
        which="Tags[?Key=='copilot-application' && Value=='$app'] || StackName=='$app-infrastructure-roles'"
        which="$which || (StackStatus=='REVIEW_IN_PROGRESS' && (StackName=='$name' || StackName=='$name-users' || StackName=='$name-products' || StackName=='$name-gateway'))"
    fi
    printf "Stacks[?ParentId==null && (%s)].[StackName,StackStatus]\n" "$which"
}

# The stacks of this application, in $standing: name and status, one a line.
list_stacks() {
    must 'listing the stacks' cloudformation describe-stacks --query "$(stacks_query)"
    # A page without a stack of ours may read None.
    standing=$(printf '%s\n' "$answer" | awk 'NF >= 2')
}

show_standing() {
    [ -n "$standing" ] || return 0
    printf '%s\n' "$standing" | sed 's/^/  /' >&2
}

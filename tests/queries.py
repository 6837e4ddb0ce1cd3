"""What the queries of copilotw.sh find in answers of AWS, by the AWS CLI's own jmespath.

Standard input has the queries that were asked, as `SERVICE OPERATION QUERY`, one a line. Each must
be in the table below; each of the table must have been asked.
"""

import json
import sys

import jmespath

STACK = {
    "StackName": "app-test",
    "StackStatus": "CREATE_COMPLETE",
    "Tags": [{"Key": "owner", "Value": "me"}, {"Key": "copilot-application", "Value": "app"}],
    "Parameters": [
        {"ParameterKey": "JwtIssuer", "ParameterValue": "https://issuer.example/"},
        {"ParameterKey": "Architecture", "ParameterValue": "ARM64"},
    ],
    "Outputs": [
        {"OutputKey": key, "OutputValue": f"value of {key}"}
        for key in (
            "ClusterId ClusterName GatewayRepository UsersRepository ProductsRepository PublicUrl"
            " PublicLoadBalancerDNSName LogGroupGateway LogGroupUsers LogGroupProducts"
        ).split()
    ],
}


def other(name, status="CREATE_COMPLETE", application=None, parent=None):
    """A stack of the list; like AWS, without the keys that do not apply."""
    stack = {"StackName": name, "StackStatus": status, "Tags": []}
    if application:
        stack["Tags"] = [{"Key": "copilot-application", "Value": application}]
    if parent:
        stack["ParentId"] = parent
    return stack


STACKS = {
    "Stacks": [
        STACK,
        other("app-infrastructure-roles"),
        other("app-test-users", "REVIEW_IN_PROGRESS"),
        other("app-test-gateway-AddonsStack-1", application="app", parent="arn"),
        other("app-x-test", application="app-x"),
        other("app-test-repositories"),
        other("app-test-gateway"),
    ]
}
EVENTS = {
    "StackEvents": [
        {"LogicalResourceId": "A", "ResourceStatus": "CREATE_COMPLETE"},
        {"LogicalResourceId": "B", "ResourceStatus": "CREATE_FAILED", "ResourceStatusReason": "why"},
        {"LogicalResourceId": "C", "ResourceStatus": "CREATE_FAILED",
         "ResourceStatusReason": "Resource creation cancelled"},
        {"LogicalResourceId": "D", "ResourceStatus": "DELETE_FAILED", "ResourceStatusReason": "so"},
    ]
}
TASKS = {
    "taskDefinition": {
        "containerDefinitions": [
            {"name": "sidecar", "environment": [{"name": "JWT_ISSUER", "value": "wrong"}]},
            {"name": "gateway", "environment": [{"name": "JWT_ISSUER", "value": "right"}]},
        ]
    }
}
ROLE_TAGS = {"Tags": [{"Key": "x", "Value": "y"}, {"Key": "copilot-application", "Value": "app"}]}
SERVICES = {
    "services": [
        {"serviceName": "users", "runningCount": 1, "desiredCount": 2,
         "deployments": [{"rolloutState": "IN_PROGRESS"}, {"rolloutState": "COMPLETED"}]}
    ]
}

# (service and operation, query): (answer of AWS, what is found in it)
ONE = {"Stacks": [STACK]}
EXPECTED = {
    ("cloudformation describe-stacks", "Stacks[0].StackStatus"): (ONE, "CREATE_COMPLETE"),
    ("cloudformation describe-stacks",
     "Stacks[0].[StackStatus, Tags[?Key=='copilot-application'].Value | [0]]"): (ONE, ["CREATE_COMPLETE", "app"]),
    ("cloudformation describe-stacks", "Stacks[0].Parameters[].[ParameterKey,ParameterValue]"): (
        ONE, [["JwtIssuer", "https://issuer.example/"], ["Architecture", "ARM64"]]),
    ("cloudformation describe-stacks",
     "Stacks[0].Parameters[?ParameterKey=='Architecture'].ParameterValue | [0]"): (ONE, "ARM64"),
    ("cloudformation describe-stacks",
     "Stacks[?ParentId==null && (StackName=='app-test' || StackName=='app-test-repositories')]"
     ".[StackName,StackStatus]"): (
        STACKS, [["app-test", "CREATE_COMPLETE"], ["app-test-repositories", "CREATE_COMPLETE"]]),
    # By tag; the roles' stack and what is in review by name. Not: nested ones, other applications.
    ("cloudformation describe-stacks",
     "Stacks[?ParentId==null && (Tags[?Key=='copilot-application' && Value=='app']"
     " || StackName=='app-infrastructure-roles' || (StackStatus=='REVIEW_IN_PROGRESS' && (StackName=='app-test'"
     " || StackName=='app-test-users' || StackName=='app-test-products' || StackName=='app-test-gateway')))]"
     ".[StackName,StackStatus]"): (
        STACKS,
        [["app-test", "CREATE_COMPLETE"], ["app-infrastructure-roles", "CREATE_COMPLETE"],
         ["app-test-users", "REVIEW_IN_PROGRESS"]]),
    ("cloudformation describe-stack-events",
     "StackEvents[?contains(ResourceStatus,'FAILED') && ResourceStatusReason!='Resource creation cancelled']"
     ".[LogicalResourceId,ResourceStatus,ResourceStatusReason]"): (
        EVENTS, [["B", "CREATE_FAILED", "why"], ["D", "DELETE_FAILED", "so"]]),
    ("cloudformation list-stack-instances", "Summaries[].[Account,Region]"): (
        {"Summaries": [{"Account": "1", "Region": "a"}, {"Account": "1", "Region": "b"}]}, [["1", "a"], ["1", "b"]]),
    ("cloudformation delete-stack-instances", "OperationId"): ({"OperationId": "o"}, "o"),
    ("cloudformation describe-stack-set-operation", "StackSetOperation.Status"): (
        {"StackSetOperation": {"Status": "RUNNING"}}, "RUNNING"),
    ("ec2 describe-addresses", "length(Addresses)"): ({"Addresses": []}, 0),
    ("ec2 describe-vpcs", "length(Vpcs)"): ({"Vpcs": [{}, {}]}, 2),
    ("ecs describe-services",
     "services[].[serviceName,runningCount,desiredCount,deployments[0].rolloutState]"): (
        SERVICES, [["users", 1, 2, "IN_PROGRESS"]]),
    ("ecs describe-task-definition",
     "taskDefinition.containerDefinitions[?name=='gateway'].environment[].[name,value]"): (
        TASKS, [["JWT_ISSUER", "right"]]),
    ("ecs list-services", "serviceArns[]"): ({"serviceArns": ["a", "b"]}, ["a", "b"]),
    ("iam list-role-tags",
     "Tags[?Key=='copilot-application' || Key=='aws:cloudformation:stack-id'].[Key,Value]"): (
        ROLE_TAGS, [["copilot-application", "app"]]),
    ("service-quotas get-service-quota", "Quota.Value"): ({"Quota": {"Value": 5.0}}, 5.0),
    ("ssm get-parameter", "Parameter.Name"): ({"Parameter": {"Name": "/x"}}, "/x"),
    ("sts get-caller-identity", "Account"): ({"Account": "1", "Arn": "a"}, "1"),
    ("sts get-caller-identity", "Arn"): ({"Account": "1", "Arn": "a"}, "a"),
}
for output in STACK["Outputs"]:
    EXPECTED["cloudformation describe-stacks", f"Stacks[0].Outputs[?OutputKey=='{output['OutputKey']}'].OutputValue | [0]"] = (
        ONE, output["OutputValue"])


def problems(asked):
    """Yields what is wrong, a line each."""
    for operation, query in asked:
        if (operation, query) not in EXPECTED:
            yield f"not in the table: {operation} {query}"
            continue
        answer, expected = EXPECTED[operation, query]
        found = jmespath.search(query, answer)
        if found != expected:
            yield f"{operation} {query}\n  finds    {json.dumps(found)}\n  not only {json.dumps(expected)}"
    for operation, query in EXPECTED.keys() - asked:
        yield f"never asked: {operation} {query}"


def main():
    asked = set()
    for line in sys.stdin:
        service, operation, query = line.rstrip("\n").split(" ", 2)
        # Other names than the table's are other tests'.
        if "other" not in query and "app-prod" not in query:
            asked.add((f"{service} {operation}", query))
    wrong = list(problems(asked))
    print("\n".join(wrong))
    sys.exit(bool(wrong))


main()

"""What a deployment consists of, read from Copilot's files and from the template, in one shape.

The two describe one system, so their facts must be equal; test_agreement.py compares them.
"""

import copy
import re

import rules
import support

# Copilot injects an output for every security group as well; nothing reads it.
UNREAD = "DATABASE_CLIENT_SECURITY_GROUP"
COMMON = {
    "COPILOT_APPLICATION_NAME": support.APPLICATION,
    "COPILOT_ENVIRONMENT_NAME": support.ENVIRONMENT,
    "COPILOT_SERVICE_DISCOVERY_ENDPOINT": f"{support.ENVIRONMENT}.{support.APPLICATION}.local",
}
# Of the databases: what decides how rows are kept.
DATABASE = ("AWS::RDS::DBCluster", "AWS::RDS::DBInstance", "AWS::RDS::DBClusterParameterGroup", "AWS::DynamoDB::Table")
# Names of networks and of each other, which the two cannot share.
NOT_COMPARED = ("Description", "DBSubnetGroupName", "VpcSecurityGroupIds", "DBClusterParameterGroupName")


def seconds(text):
    """10s as 10."""
    return int(str(text).removesuffix("s"))


def of_copilot(name):
    """The facts of a service's manifest, addons and patches."""
    manifest = support.read_yaml(support.COPILOT / name / "manifest.yml")
    patches = support.read_yaml(support.COPILOT / name / "overrides" / "cfn.patches.yml")
    addons = [support.read_template(path) for service, path in support.addons() if service == name]
    return from_manifest(manifest, patches, addons)


def from_manifest(manifest, patches, addons):
    """The facts of a service, from what was read already."""
    health = manifest["image"]["healthcheck"]
    count = manifest["count"]
    variables = dict(COMMON, COPILOT_SERVICE_NAME=manifest["name"])
    for key, value in manifest["variables"].items():
        variables[key] = _filled(str(value))
    secrets, actions = set(manifest.get("secrets", {})), set()
    for addon in addons:
        for output, value in addon["Outputs"].items():
            kind = addon["Resources"].get(value["Value"].get("Ref"), {}).get("Type")
            if kind == "AWS::SecretsManager::Secret":
                secrets.add(rules.variable(output))
            elif kind not in rules.REF_TYPES:
                variables[rules.variable(output)] = _shape(value["Value"])
        for resource in addon["Resources"].values():
            if resource["Type"] == "AWS::IAM::ManagedPolicy":
                actions |= _actions(resource["Properties"]["PolicyDocument"])
    facts = {
        "port": manifest["image"]["port"],
        "cpu": manifest["cpu"],
        "memory": manifest["memory"],
        "entrypoint": manifest.get("entrypoint"),
        "command": manifest.get("command"),
        "read-only root": manifest["storage"]["readonly_fs"],
        "architecture": {"linux/x86_64": "X86_64", "linux/arm64": "ARM64"}[manifest["platform"]],
        "stop timeout": next((patch["value"] for patch in patches if patch["path"].endswith("/StopTimeout")), None),
        "health check": [health["command"]] + [seconds(health[key]) for key in ("interval", "timeout", "start_period")],
        "health check retries": health["retries"],
        "log retention": manifest["logging"]["retention"],
        "variables": variables,
        "secrets": sorted(secrets),
        "actions": sorted(actions),
        "tasks": [int(bound) for bound in count["range"].split("-")],
        "cooldown": [seconds(count["cooldown"][way]) for way in ("in", "out")],
        "scaling": {key: seconds(value) for key, value in count.items() if key not in ("range", "cooldown")},
        "databases": _databases(*addons),
    }
    if "http" in manifest:
        http = manifest["http"]
        check = http["healthcheck"]
        facts["load balancer"] = {
            "path": check["path"],
            "codes": check["success_codes"],
            "interval": seconds(check["interval"]),
            "timeout": seconds(check["timeout"]),
            "healthy": check["healthy_threshold"],
            "unhealthy": check["unhealthy_threshold"],
            "grace": seconds(check["grace_period"]),
            "deregistration": seconds(http["deregistration_delay"]),
        }
    return facts


def of_template(name, template):
    """The facts of a service in system.yaml."""
    resources = template["Resources"]
    title = name.capitalize()
    task = resources[f"{title}Task"]["Properties"]
    container = task["ContainerDefinitions"][0]
    service = resources[f"{title}Service"]["Properties"]
    scaling = resources[f"{title}Scaling"]["Properties"]

    def default(value):
        return template["Parameters"][value["Ref"]]["Default"] if isinstance(value, dict) else value

    policies = {
        key: resource["Properties"]["TargetTrackingScalingPolicyConfiguration"]
        for key, resource in resources.items()
        if resource["Type"] == "AWS::ApplicationAutoScaling::ScalingPolicy" and key.startswith(title)
    }
    health = container["HealthCheck"]
    variables = {entry["Name"]: _filled(_shape(entry["Value"])) for entry in container["Environment"]}
    role = resources[task["TaskRoleArn"]["Fn::GetAtt"][0]]["Properties"]
    facts = {
        "port": container["PortMappings"][0]["ContainerPort"],
        "cpu": int(default(task["Cpu"])),
        "memory": int(default(task["Memory"])),
        "entrypoint": container.get("EntryPoint"),
        "command": container.get("Command"),
        "read-only root": container["ReadonlyRootFilesystem"],
        "architecture": default(task["RuntimePlatform"]["CpuArchitecture"]),
        "stop timeout": container["StopTimeout"],
        "health check": [health["Command"], health["Interval"], health["Timeout"], health["StartPeriod"]],
        "health check retries": health["Retries"],
        "log retention": default(resources[f"{title}Logs"]["Properties"]["RetentionInDays"]),
        "variables": variables,
        "secrets": sorted(secret["Name"] for secret in container.get("Secrets", [])),
        "actions": sorted(set().union(*(_actions(policy["PolicyDocument"]) for policy in role.get("Policies", [])))),
        "tasks": [default(scaling["MinCapacity"]), default(scaling["MaxCapacity"])],
        "cooldown": sorted({(each["ScaleInCooldown"], each["ScaleOutCooldown"]) for each in policies.values()}),
        "scaling": {_metric(key, title): each["TargetValue"] for key, each in policies.items()},
        "databases": _databases(template, only={"users": "RDS", "products": "DynamoDB"}.get(name, "none")),
    }
    facts["cooldown"] = list(facts["cooldown"][0]) if len(facts["cooldown"]) == 1 else facts["cooldown"]
    if "LoadBalancers" in service:
        group = resources["TargetGroup"]["Properties"]
        attributes = {each["Key"]: each["Value"] for each in group["TargetGroupAttributes"]}
        facts["load balancer"] = {
            "path": group["HealthCheckPath"],
            "codes": group["Matcher"]["HttpCode"],
            "interval": group["HealthCheckIntervalSeconds"],
            "timeout": group["HealthCheckTimeoutSeconds"],
            "healthy": group["HealthyThresholdCount"],
            "unhealthy": group["UnhealthyThresholdCount"],
            "grace": service["HealthCheckGracePeriodSeconds"],
            "deregistration": int(attributes["deregistration_delay.timeout_seconds"]),
        }
    return facts


def _metric(policy, title):
    return {
        "Cpu": "cpu_percentage",
        "Memory": "memory_percentage",
        "Requests": "requests",
        "ResponseTime": "response_time",
    }[policy.removeprefix(f"{title}ScalingBy")]


def _filled(text):
    """With the names of application and environment, and what the shell or a parameter gives left open."""
    for name, value in (
        ("COPILOT_APPLICATION_NAME", support.APPLICATION),
        ("COPILOT_ENVIRONMENT_NAME", support.ENVIRONMENT),
        ("App", support.APPLICATION),
        ("Env", support.ENVIRONMENT),
    ):
        text = text.replace(f"${{{name}}}", value)
    # ${JWT_ISSUER} of a shell is ${JwtIssuer} of a parameter.
    return re.sub(r"\$\{(\w+)\}", lambda match: f"${{{rules.variable(match[1])}}}", text)


def _shape(value):
    """A variable's value as one text: !Ref X as ${X}."""
    if isinstance(value, dict):
        if "Ref" in value:
            return _filled(f"${{{value['Ref']}}}")
        return _filled(value["Fn::Sub"])
    return str(value)


def _actions(policy):
    found = set()
    for statement in policy["Statement"]:
        actions = statement["Action"]
        found |= {actions} if isinstance(actions, str) else set(actions)
    return found


def _databases(*templates, only=""):
    """What keeps rows, by its type, without the names of networks."""
    found = {}
    for template in templates:
        for resource in template["Resources"].values():
            if resource["Type"] not in DATABASE or only not in resource["Type"]:
                continue
            properties = copy.deepcopy(dict(resource["Properties"]))
            for key in NOT_COMPARED:
                properties.pop(key, None)
            properties.pop("TableName", None)
            if "ServerlessV2ScalingConfiguration" in properties:
                properties["ServerlessV2ScalingConfiguration"] = _capacity(template, properties)
            properties["DeletionPolicy"] = resource.get("DeletionPolicy")
            properties["UpdateReplacePolicy"] = resource.get("UpdateReplacePolicy")
            found[resource["Type"]] = properties
    return found


def _capacity(template, properties):
    """The bounds themselves, wherever a template keeps them."""
    bounds = []
    for key in ("MinCapacity", "MaxCapacity"):
        value = properties["ServerlessV2ScalingConfiguration"][key]
        if "Ref" in value:
            bounds.append(template["Parameters"][value["Ref"]]["Default"])
        else:
            of, environment, bound = value["Fn::FindInMap"]
            bounds.append(template["Mappings"][of][environment][bound])
    return bounds

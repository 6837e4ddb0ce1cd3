"""What Copilot and AWS take without a word, and should not.

Each function answers with a list of problems, each a sentence; so that test_rules.py can break
what is right and see it noticed.
"""

import difflib
import re

import yaml

# Route 53 lists no more addresses of a name at once, and the services learn the gateways' keys by
# one name.
GATEWAYS_MOST = 8
# What makes Copilot do something with an addon's output, if the output is a plain !Ref.
REF_TYPES = ("AWS::IAM::ManagedPolicy", "AWS::EC2::SecurityGroup", "AWS::SecretsManager::Secret")
ADDON_PARAMETERS = ("App", "Env", "Name")
# Copilot's helper functions, by when they are there.
FUNCTIONS = {
    "environment": ("CertificateValidationFunction", "CustomDomainFunction", "DNSDelegationFunction"),
    "always": ("EnvControllerFunction",),
    "Load Balanced Web Service": ("RulePriorityFunction",),
    "range": ("DynamicDesiredCountFunction",),
}
RUNTIME = "nodejs24.x"


def variable(output):
    """The variable that Copilot makes of an output's name: DatabaseUrl becomes DATABASE_URL."""
    name = re.sub(r"([a-z\d])([A-Z])", r"\1_\2", output)
    return re.sub(r"([A-Z])([A-Z][a-z])", r"\1_\2", name).upper()


def unknown_keys(manifest, known):
    """Keys that Copilot would pass over in silence."""
    kind = manifest.get("type")
    if kind not in known:
        return [f"type `{kind}` is none of {', '.join(sorted(known))}"]
    return _unknown(manifest, known[kind], "")


def _unknown(value, known, place):
    if "**" in known or not known and not isinstance(value, dict):
        return []
    if isinstance(value, list):
        return [problem for index, item in enumerate(value) for problem in _unknown(item, known, f"{place}[{index}]")]
    if not isinstance(value, dict):
        return []
    problems = []
    for key, below in value.items():
        here = f"{place}.{key}" if place else str(key)
        if key in known:
            problems += _unknown(below, known[key], here)
        elif "*" in known:
            problems += _unknown(below, known["*"], here)
        else:
            near = difflib.get_close_matches(str(key), known, n=1)
            problems.append(f"`{here}` is unknown" + (f"; did you mean `{near[0]}`?" if near else ""))
    return problems


def addon_problems(template):
    """Copilot's own rules for an addon, which no linter knows."""
    problems = []
    parameters = template.get("Parameters", {})
    for name in ADDON_PARAMETERS:
        if name not in parameters:
            problems.append(f"parameter `{name}` is missing")
    for name, parameter in parameters.items():
        if name not in ADDON_PARAMETERS and "Default" not in parameter:
            problems.append(f"parameter `{name}` needs a default, since nobody fills it in")
    resources = template.get("Resources", {})
    for name, output in template.get("Outputs", {}).items():
        value = output.get("Value")
        if _plain_ref(value) is None:
            for mentioned in sorted(_mentioned(value)):
                if resources.get(mentioned, {}).get("Type") in REF_TYPES:
                    problems.append(
                        f"output `{name}` mentions `{mentioned}` without being a plain !Ref, so Copilot makes it a variable"
                    )
    exported = {_plain_ref(output.get("Value")) for output in template.get("Outputs", {}).values()}
    for name, resource in resources.items():
        if resource.get("Type") == "AWS::IAM::ManagedPolicy" and name not in exported:
            problems.append(f"policy `{name}` is no output, so it is attached to nothing")
    return problems


def _plain_ref(value):
    return value["Ref"] if isinstance(value, dict) and list(value) == ["Ref"] else None


def _mentioned(value):
    """The names that an output's value mentions in !Sub, !GetAtt or !Join."""
    if isinstance(value, dict):
        found = set()
        for key, below in value.items():
            if key in ("Ref", "Fn::GetAtt"):
                found.add(str(below[0] if isinstance(below, list) else below).split(".")[0])
            elif key == "Fn::Sub":
                text = below[0] if isinstance(below, list) else below
                found |= set(re.findall(r"\$\{(\w+)", text))
            else:
                found |= _mentioned(below)
        return found
    if isinstance(value, list):
        return set().union(*map(_mentioned, value)) if value else set()
    return set()


def patch_problems(manifest, patches):
    """A function that keeps its old runtime, and a path that this kind of stack does not have."""
    if manifest["type"] == "Environment":
        # With certificates of its own an environment needs nothing that makes some.
        imported = manifest.get("http", {}).get("public", {}).get("certificates")
        functions = set() if imported else set(FUNCTIONS["environment"])
        allowed = set()
    else:
        functions = set(FUNCTIONS["always"]) | set(FUNCTIONS.get(manifest["type"], ()))
        count = manifest.get("count")
        if isinstance(count, dict) and "range" in count:
            functions |= set(FUNCTIONS["range"])
        allowed = {"/Resources/TaskDefinition/Properties/ContainerDefinitions/0/StopTimeout"}
    runtimes = {f"/Resources/{function}/Properties/Runtime" for function in functions}
    problems = []
    for patch in patches:
        path = patch["path"]
        if path in runtimes:
            runtimes.discard(path)
            if (patch["op"], patch["value"]) != ("replace", RUNTIME):
                problems.append(f"`{path}` must be replaced by {RUNTIME}")
        # A whole resource more, /Resources/NAME, needs nothing to be there.
        elif patch["op"] == "replace" or path not in allowed and path.count("/") > 2:
            problems.append(f"`{path}` is not there to be patched")
    return problems + [f"`{path}` keeps a runtime that AWS closes" for path in sorted(runtimes)]


def manifest_problems(manifest):
    """What this system needs of a service, and Copilot does not."""
    problems = []

    def want(holds, problem):
        if not holds:
            problems.append(problem)

    image, network, count = manifest.get("image", {}), manifest.get("network", {}), manifest.get("count", {})
    want(image.get("port"), "without `image.port` the tasks are not registered in Cloud Map")
    command = image.get("healthcheck", {}).get("command")
    want(command, "`image.healthcheck.command` is missing, and the default is curl, which the image has not")
    want(command is None or command[0] == "CMD", "`image.healthcheck.command` needs a shell, which the image has not")
    want(network.get("connect") is False, "`network.connect: false` is missing: an Envoy would come along")
    want(network.get("vpc", {}).get("placement") == "private", "`network.vpc.placement` is not private")
    want(manifest.get("storage", {}).get("readonly_fs") is True, "`storage.readonly_fs: true` is missing")
    want(not manifest.get("exec"), "`exec` and `storage.readonly_fs` exclude each other")
    least, _, most = str(count.get("range", "0-0")).partition("-")
    want(int(least) >= 2, "`count.range` starts below two tasks")
    want(set(count) - {"range", "cooldown"}, "`count.range` has no metric to go by")
    if manifest.get("type") == "Load Balanced Web Service":
        want(int(most) <= GATEWAYS_MOST, f"`count.range` goes above {GATEWAYS_MOST} gateways")
        health = manifest.get("http", {}).get("healthcheck")
        want(isinstance(health, dict) and health.get("path") == "/healthz", "`http.healthcheck.path` is not /healthz")
    else:
        want("requests" not in count and "response_time" not in count, "`count` asks for metrics of a load balancer")
    return problems


def variables_of(text):
    """The ${NAME} of a manifest or routes file, as {name: whether it has a default}; not those of comments."""
    found = {}

    def walk(value):
        if isinstance(value, dict):
            for below in value.values():
                walk(below)
        elif isinstance(value, list):
            for below in value:
                walk(below)
        elif isinstance(value, str):
            for name, default in re.findall(r"\$\{(\w+)(:-[^}]*)?\}", value):
                found[name] = bool(default)

    walk(yaml.safe_load(text))
    return found

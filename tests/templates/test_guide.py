"""The commands of docs/deploying.md: that they exist, and that Cognito comes out as it says."""

import os
import re
import shlex
import unittest
import unittest.mock

import boto3
from botocore import xform_name
from moto import mock_aws

import support

GUIDE = support.ROOT / "docs" / "deploying.md"
WRAPPER = [support.ROOT / "copilotw.sh", *sorted((support.COPILOT / "lib").glob("*.sh"))]
REGION = "eu-central-1"
# Options that every command of the AWS CLI has.
GLOBAL = {"region", "query", "output"}
# Commands that the AWS CLI itself is made of, and no API has.
CUSTOM = {
    ("cloudformation", "deploy"): {"stack-name", "template-file", "parameter-overrides", "capabilities"},
    ("ecr", "get-login-password"): set(),
    ("configure", ""): set(),
    ("configure", "sso"): set(),
}


def commands(program):
    """Every command line of the guide that begins with this program, as words."""
    text = GUIDE.read_text()
    code = re.findall(r"```sh[^\n]*\n(.*?)```", text, re.DOTALL)
    lines = [line for block in code for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = []
    for line in lines:
        line = re.sub(r"\s#.*", "", line)
        for start in re.finditer(rf"(?:^|[\s(\"|;&]){re.escape(program)} ", line):
            words = []
            lexer = shlex.shlex(line[start.start() :].lstrip(' (";&|'), posix=True, punctuation_chars="|&;()<>")
            lexer.whitespace_split = True
            try:
                for word in lexer:
                    if set(word) <= set("|&;()<>"):
                        break
                    words.append(word)
            except ValueError:  # a quote that was opened before the command
                pass
            found.append(words[1:])
    return found


def options(words):
    """--name value value, as {name: [value, value]}."""
    found, name = {}, None
    for word in words:
        if word.startswith("--"):
            name = word[2:]
            found[name] = []
        elif name:
            found[name].append(word)
    return found


def value(shape, words):
    """An option's words as the API wants them."""
    if shape.type_name == "boolean":
        return True
    if shape.type_name == "list" and shape.member.type_name == "structure":
        return [dict(pair.split("=", 1) for pair in word.split(",")) for word in words]
    return words if shape.type_name == "list" else " ".join(words)


class Commands(unittest.TestCase):
    def client(self, service):
        return boto3.client(service, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")

    def operation(self, service, command):
        client = self.client(service)
        names = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
        self.assertIn(command, names, service)
        return client.meta.service_model.operation_model(names[command]).input_shape.members


class Guide(Commands):
    def test_every_command_of_the_aws_cli_and_its_options_exist(self):
        found = commands("aws")
        self.assertGreater(len(found), 15)
        for service, *rest in found:
            command = rest[0] if rest else ""
            given = options(rest)
            if (service, command) in CUSTOM:
                self.assertLessEqual(set(given), CUSTOM[service, command] | GLOBAL)
                continue
            if command == "wait":
                waiters = [name.replace("_", "-") for name in self.client(service).waiter_names]
                self.assertIn(rest[1], waiters)
                continue
            members = self.operation(service, command)
            known = {xform_name(name, "-") for name in members}
            self.assertLessEqual(set(given) - GLOBAL, known, f"aws {service} {command}")

    def test_every_parameter_of_the_stack_exists_and_none_that_is_needed_is_forgotten(self):
        needed = {}
        for path in (support.SYSTEM, support.REPOSITORIES):
            parameters = support.read_template(path)["Parameters"]
            needed[path.name] = (set(parameters), {name for name, each in parameters.items() if "Default" not in each})
        checked = 0
        for words in commands("aws"):
            given = options(words)
            if "template-file" not in given:
                continue
            known, must = needed[os.path.basename(given["template-file"][0])]
            names = {word.split("=")[0] for word in given["parameter-overrides"]}
            self.assertLessEqual(names, known)
            self.assertLessEqual(must, names)
            checked += 1
        self.assertEqual(checked, 2)
        known, _ = needed["system.yaml"]
        self.assertLessEqual(set(re.findall(r"--parameter (\w+)=", GUIDE.read_text())) - {"NAME"}, known)

    def test_every_command_of_the_wrapper_and_its_options_exist(self):
        wrapper = "".join(path.read_text() for path in WRAPPER)
        if "command_deploy" not in wrapper:
            self.skipTest("copilotw.sh deploys nothing yet")
        for command, *rest in commands("./copilotw.sh"):
            self.assertIn(f"usage_{command}()", wrapper)
            for option in options(rest):
                self.assertIn(f"--{option}", wrapper)


class Cognito(Commands):
    def setUp(self):
        credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": REGION}
        support.entered(self, unittest.mock.patch.dict(os.environ, credentials))
        support.entered(self, mock_aws())

    def test_the_pool_has_the_scopes_that_the_routes_ask_for(self):
        client, pool, machine = self.client("cognito-idp"), None, None
        for service, command, *rest in (words for words in commands("aws") if len(words) > 1):
            if service != "cognito-idp" or not command.startswith("create"):
                continue
            members = {xform_name(name, "-"): (name, shape) for name, shape in self.operation(service, command).items()}
            arguments = {}
            for option, words in options(rest).items():
                if option not in GLOBAL:
                    name, shape = members[option]
                    arguments[name] = value(shape, words)
            if pool is not None:
                self.assertEqual(arguments["UserPoolId"], "$POOL")
                arguments["UserPoolId"] = pool
            answer = getattr(client, command.replace("-", "_"))(**arguments)
            pool = pool or answer["UserPool"]["Id"]
            machine = answer.get("UserPoolClient", machine)
        prefix = re.search(r"--jwt-scope-prefix (\S+)", GUIDE.read_text())[1]
        asked = set(re.findall(r"\$\{JWT_SCOPE_PREFIX:-\}([\w:]+)", support.ROUTES.read_text()))
        self.assertEqual(set(machine["AllowedOAuthScopes"]), {prefix + scope for scope in asked})
        self.assertEqual(machine["AllowedOAuthFlows"], ["client_credentials"])
        self.assertTrue(machine["AllowedOAuthFlowsUserPoolClient"])
        self.assertTrue(machine["ClientSecret"])


if __name__ == "__main__":
    unittest.main()

"""The checks themselves: what is broken on purpose must be noticed."""

import tempfile
import unittest
from pathlib import Path

import yaml
from cfnlint.decode import cfn_yaml

import facts
import linting
import rules
import support

GATEWAY = support.COPILOT / "gateway" / "manifest.yml"
USERS = support.COPILOT / "users" / "manifest.yml"


def broken(text, old, new):
    """The text with one place changed, which must be there once."""
    if text.count(old) != 1:
        raise AssertionError(f"`{old}` is there {text.count(old)} times")
    return text.replace(old, new)


class Keys(unittest.TestCase):
    def test_a_mistyped_key_is_found_at_any_depth(self):
        for old, new, problem in [
            ("readonly_fs: true", "read_only_fs: true", "`storage.read_only_fs` is unknown; did you mean `readonly_fs`?"),
            ("healthy_threshold: 2", "healthy_treshold: 2", "did you mean `healthy_threshold`?"),
            ("cpu: 256", "cpus: 256", "`cpus` is unknown; did you mean `cpu`?"),
            ("connect: false", "conect: false", "`network.conect` is unknown; did you mean `connect`?"),
            ("cpu_percentage: 60", "cpu_percent: 60", "`count.cpu_percent` is unknown"),
            ("type: Load Balanced Web Service", "type: Load Balanced Service", "is none of"),
        ]:
            manifest = yaml.safe_load(broken(GATEWAY.read_text(), f"{old}\n", f"{new}\n"))
            problems = rules.unknown_keys(manifest, support.known_keys())
            self.assertEqual(len(problems), 1, (new, problems))
            self.assertIn(problem, problems[0])

    def test_names_of_the_users_own_are_no_keys(self):
        manifest = yaml.safe_load(GATEWAY.read_text())
        manifest["variables"]["ANY_NAME"] = "x"
        manifest["environments"] = {"prod": {"count": {"range": "4-8"}, "variables": {"OTHER": "y"}}}
        self.assertEqual(rules.unknown_keys(manifest, support.known_keys()), [])
        manifest["environments"]["prod"]["cont"] = 3
        self.assertEqual(len(rules.unknown_keys(manifest, support.known_keys())), 1)


class ManifestRules(unittest.TestCase):
    def test_each_trap_is_named(self):
        for path, old, new, problem in [
            (USERS, "  port: 8080\n", "", "not registered"),
            (USERS, 'command: ["CMD", "/users-svc", "healthcheck"]', "retries: 3", "the default is curl"),
            (USERS, 'command: ["CMD",', 'command: ["CMD-SHELL",', "needs a shell"),
            (USERS, "connect: false", "connect: true", "an Envoy"),
            (USERS, "placement: private", "placement: public", "not private"),
            (USERS, "readonly_fs: true", "readonly_fs: false", "readonly_fs"),
            (USERS, "range: 2-6", "range: 1-6", "below two"),
            (USERS, "  cpu_percentage: 60\n  memory_percentage: 80\n", "", "no metric"),
            (USERS, "  memory_percentage: 80\n", "  requests: 80\n", "metrics of a load balancer"),
            (GATEWAY, "range: 2-8", "range: 2-9", "above 8"),
            (GATEWAY, "path: /healthz", "path: /", "not /healthz"),
        ]:
            manifest = yaml.safe_load(broken(path.read_text(), old, new))
            problems = rules.manifest_problems(manifest)
            self.assertTrue(any(problem in each for each in problems), (new, problems))

    def test_a_variable_with_and_without_default_is_found_and_comments_are_not(self):
        text = "a: ${ONE}\nb: [{c: 'x${TWO:-y}'}] # ${THREE}\n"
        self.assertEqual(rules.variables_of(text), {"ONE": False, "TWO": True})


class AddonRules(unittest.TestCase):
    DISCOVERY = support.COPILOT / "gateway" / "addons" / "discovery.yml"
    DATABASE = support.COPILOT / "users" / "addons" / "database.yml"

    def test_each_of_copilots_rules_is_held(self):
        for path, old, new, problem in [
            (self.DISCOVERY, "  Name: {Type: String, Description: The service that this belongs to.}\n", "", "`Name` is missing"),
            (self.DISCOVERY, "Value: !Ref DiscoveryPolicy", "Value: !Sub '${DiscoveryPolicy}'", "plain !Ref"),
            (self.DISCOVERY, "Parameters:\n", "Parameters:\n  Size: {Type: String}\n", "`Size` needs a default"),
            (self.DATABASE, "Value: !Ref DatabaseSecret\n", "Value: !GetAtt DatabaseSecret.Id\n", "plain !Ref"),
            (self.DISCOVERY, "Value: !Ref DiscoveryPolicy", "Value: attached", "attached to nothing"),
        ]:
            template = cfn_yaml.loads(broken(path.read_text(), old, new))
            problems = rules.addon_problems(template)
            self.assertTrue(any(problem in each for each in problems), (new, problems))


class PatchRules(unittest.TestCase):
    def test_a_path_that_is_not_there_and_a_function_that_is_forgotten_are_found(self):
        manifest = support.read_yaml(USERS)
        text = (support.COPILOT / "users" / "overrides" / "cfn.patches.yml").read_text()
        for old, new, problems in [
            ("/Resources/EnvControllerFunction/", "/Resources/EnvControlerFunction/", 2),
            ("/Resources/DynamicDesiredCountFunction/", "/Resources/RulePriorityFunction/", 2),
            ("ContainerDefinitions/0/StopTimeout", "ContainerDefinitions/0/StopTimout", 1),
        ]:
            found = rules.patch_problems(manifest, yaml.safe_load(broken(text, old, new)))
            self.assertEqual(len(found), problems, found)
        found = rules.patch_problems(manifest, yaml.safe_load(text.replace("nodejs24.x", "nodejs20.x")))
        self.assertEqual(len(found), 2, found)

    def test_an_environment_with_a_certificate_of_its_own_has_no_functions_to_patch(self):
        manifest = {"type": "Environment", "http": {"public": {"certificates": ["arn"]}}}
        self.assertEqual(rules.patch_problems(manifest, []), [])
        patch = {"op": "replace", "path": "/Resources/CustomDomainFunction/Properties/Runtime", "value": "nodejs24.x"}
        self.assertEqual(len(rules.patch_problems(manifest, [patch])), 1)


class Agreement(unittest.TestCase):
    def test_a_difference_between_the_two_ways_is_seen(self):
        for name, old, new, fact in [
            ("gateway", "HealthCheckPath: /healthz", "HealthCheckPath: /", "load balancer"),
            ("gateway", "Value: '25'", "Value: '60'", "load balancer"),
            ("gateway", "{Name: JWT_SCOPE_PREFIX, Value: !Ref JwtScopePrefix}", "{Name: JWT_SCOPE, Value: x}", "variables"),
            ("gateway", "{Name: JWT_ISSUER, Value: !Ref JwtIssuer}", "{Name: JWT_ISSUER, Value: !Ref JwtAudience}", "variables"),
            ("gateway", "TargetValue: 30000 ", "TargetValue: 300 ", "scaling"),
            ("gateway", "servicediscovery:DiscoverInstances, ", "", "actions"),
            ("users", "Secrets: [{Name: DATABASE_SECRET,", "Secrets: [{Name: DATABASE_URL,", "secrets"),
            ("users", "rds.force_ssl: '1'", "rds.force_ssl: '0'", "databases"),
            ("users", "BackupRetentionPeriod: 7", "BackupRetentionPeriod: 1", "databases"),
            ("users", "EntryPoint: [/users-svc]", "EntryPoint: [/users]", "entrypoint"),
            ("products", "AttributeName: id, KeyType: RANGE", "AttributeName: id, KeyType: HASH", "databases"),
        ]:
            template = cfn_yaml.loads(broken(support.SYSTEM.read_text(), old, new))
            theirs, ours = facts.of_template(name, template), facts.of_copilot(name)
            self.assertEqual([key for key in ours if ours[key] != theirs[key]], [fact], new)


class Linter(unittest.TestCase):
    def test_mistakes_in_templates_are_found(self):
        database = support.COPILOT / "users" / "addons" / "database.yml"
        discovery = support.COPILOT / "gateway" / "addons" / "discovery.yml"
        cases = [
            (discovery, "- servicediscovery:DiscoverInstances\n", "- servicediscovery:DiscoverInstance\n", "W3037"),
            (database, "SecretId: !Ref DatabaseSecret\n", "SecretId: !Ref DatabaseSecrets\n", "E1020"),
            (database, "EngineVersion: '16.8'", "EngineVersion: '16.888'", "E3690"),
            (support.SYSTEM, "  JwtAudience: {Type: String, MinLength: 1, Description: What a token's audience must contain.}\n", "", "E1020"),
            (support.SYSTEM, "HealthCheckPath: /healthz", "HealthCheckPaths: /healthz", "E3002"),
            (support.SYSTEM, "RequiresCompatibilities: [FARGATE]\n      NetworkMode: awsvpc\n      RuntimePlatform: {CpuArchitecture: !Ref Architecture, OperatingSystemFamily: LINUX}\n      Cpu: !Ref TaskCpu\n      Memory: !Ref TaskMemory\n      ExecutionRoleArn: !GetAtt UsersExecutionRole.Arn", "RequiresCompatibilities: [FARGATE]\n      NetworkMode: awsvpc\n      Cpu: '256'\n      Memory: '300'\n      ExecutionRoleArn: !GetAtt UsersExecutionRole.Arn", "E3047"),
        ]
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for index, (path, old, new, _) in enumerate(cases):
                paths.append(Path(folder, f"{index}.yml"))
                paths[-1].write_text(broken(path.read_text(), old, new))
            remarks = linting.lint(paths)
        for path, (_, _, new, code) in zip(paths, cases, strict=True):
            codes = [line.split(":")[5] for line in remarks if line.startswith(f"{path}:")]
            self.assertIn(code, codes, new)


if __name__ == "__main__":
    unittest.main()

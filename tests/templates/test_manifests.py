"""The manifests, by rules that Copilot does not have."""

import re
import unittest

import facts
import rules
import support

# What `copilotw.sh` exports, or Copilot itself defines.
GIVEN = {
    "COPILOT_APPLICATION_NAME",
    "COPILOT_ENVIRONMENT_NAME",
    "JWT_ISSUER",
    "JWT_AUDIENCE",
    "JWT_AUDIENCE_CLAIM",
    "JWT_SCOPE_PREFIX",
}


def seconds(text):
    return int(text.removesuffix("s"))


class Manifests(unittest.TestCase):
    def test_every_key_is_one_that_copilot_reads(self):
        for path in support.manifests():
            self.assertEqual(rules.unknown_keys(support.read_yaml(path), support.known_keys()), [], path)

    def test_every_service_is_registered_private_read_only_and_scaled(self):
        for name in support.SERVICES:
            manifest = support.read_yaml(support.COPILOT / name / "manifest.yml")
            self.assertEqual(manifest["name"], name)
            self.assertEqual(rules.manifest_problems(manifest), [], name)

    def test_the_shell_gives_every_variable(self):
        for path in support.manifests():
            self.assertLessEqual(set(rules.variables_of(path.read_text())), GIVEN, path)

    def test_the_wrapper_exports_what_the_manifests_ask_of_the_shell(self):
        wrapper = "".join(path.read_text() for path in (support.ROOT / "copilotw.sh", *support.COPILOT.glob("lib/*.sh")))
        if "copilot_values" not in wrapper and " init " not in wrapper:
            self.skipTest("copilotw.sh deploys nothing yet")
        for name in sorted(GIVEN):
            if name.startswith("JWT_"):
                self.assertRegex(wrapper, rf"export [^\n]*\b{name}=")

    def test_every_helper_function_gets_a_runtime_that_lasts(self):
        for name in support.SERVICES:
            manifest = support.read_yaml(support.COPILOT / name / "manifest.yml")
            patches = support.read_yaml(support.COPILOT / name / "overrides" / "cfn.patches.yml")
            self.assertEqual(rules.patch_problems(manifest, patches), [], name)
        environment = support.read_yaml(support.COPILOT / "environments" / support.ENVIRONMENT / "manifest.yml")
        patches = support.read_yaml_with_tags(support.COPILOT / "environments" / "overrides" / "cfn.patches.yml")
        self.assertEqual(rules.patch_problems(environment, patches), [])


class Addons(unittest.TestCase):
    def test_every_addon_keeps_copilots_rules(self):
        for name, path in support.addons():
            self.assertEqual(rules.addon_problems(support.read_template(path)), [], f"{name}: {path.name}")

    def test_outputs_become_the_variables_that_the_services_read(self):
        for output, variable in [
            ("DatabaseUrl", "DATABASE_URL"),
            ("DatabaseSecret", "DATABASE_SECRET"),
            ("DatabaseClientSecurityGroup", "DATABASE_CLIENT_SECURITY_GROUP"),
            ("MyURLIs", "MY_URL_IS"),
        ]:
            self.assertEqual(rules.variable(output), variable)


class Routes(unittest.TestCase):
    """The gateway's routes file against what its task is given."""

    def setUp(self):
        self.routes = support.read_yaml(support.ROUTES)
        self.gateway = support.read_yaml(support.COPILOT / "gateway" / "manifest.yml")

    def test_the_task_has_every_variable_that_the_routes_need(self):
        given = set(self.gateway["variables"]) | {"COPILOT_SERVICE_DISCOVERY_ENDPOINT"}
        for name in rules.variables_of(support.ROUTES.read_text()):
            self.assertIn(name, given)

    def test_the_load_balancer_waits_for_as_long_as_the_gateway_drains_and_ecs_longer(self):
        shutdown = self.routes["shutdown"]
        drain = seconds(shutdown["lame_duck"]) + seconds(shutdown["drain"])
        self.assertEqual(seconds(self.gateway["http"]["deregistration_delay"]), drain)
        for name in support.SERVICES:
            patches = support.read_yaml(support.COPILOT / name / "overrides" / "cfn.patches.yml")
            stop = next(patch["value"] for patch in patches if patch["path"].endswith("StopTimeout"))
            variables = support.read_yaml(support.COPILOT / name / "manifest.yml")["variables"]
            self.assertGreater(stop, seconds(variables.get("DRAIN_LIMIT", f"{drain}s")), name)

    def test_the_health_check_asks_for_a_route_that_is_open(self):
        path = self.gateway["http"]["healthcheck"]["path"]
        route = next(route for route in self.routes["routes"] if route["match"].get("path") == path)
        self.assertEqual(route["auth"], "none")

    def test_services_serve_the_gateway_alone_and_find_its_keys(self):
        keys = next(route["match"]["path"] for route in self.routes["routes"] if route.get("respond") == "internal_jwks")
        port = self.routes["listeners"][0]["address"].rpartition(":")[2]
        self.assertEqual(int(port), self.gateway["image"]["port"])
        self.assertIn("internal_identity", self.routes)
        for name in ("users", "products"):
            upstream = self.routes["upstreams"][name]
            variables = support.read_yaml(support.COPILOT / name / "manifest.yml")["variables"]
            self.assertEqual(upstream["cloud_map"]["service"], name)
            self.assertEqual(upstream["identity"], variables["GATEWAY_AUDIENCE"])
            namespace = "${COPILOT_ENVIRONMENT_NAME}.${COPILOT_APPLICATION_NAME}.local"
            self.assertEqual(variables["REQUIRE_GATEWAY"], f"http://gateway.{namespace}:{port}{keys}")

    def test_the_load_balancer_is_believed_and_nobody_outside_of_the_vpc(self):
        environment = support.read_yaml(support.COPILOT / "environments" / support.ENVIRONMENT / "manifest.yml")
        self.assertEqual(self.gateway["variables"]["TRUSTED_PROXIES"], environment["network"]["vpc"]["cidr"])


class Permissions(unittest.TestCase):
    """What a task role allows against what the program calls."""

    STORE = support.ROOT / "gateway" / "mesh" / "src" / "service" / "store" / "dynamodb"
    # A transaction needs what its parts need; only the table of an emulator is ever created.
    CALLS = {"transact_write_items": {"dynamodb:PutItem"}, "create_table": set()}

    def test_the_table_allows_what_the_store_calls_and_no_more(self):
        calls = set()
        for path in self.STORE.glob("*.rs"):
            calls |= set(re.findall(r"\.((?:get|put|update|delete|batch|transact|create|describe)_\w+|query|scan)\(\)", path.read_text()))
        if not calls:
            self.skipTest("the products are not kept in DynamoDB yet")
        actions = set()
        for call in calls:
            name = "dynamodb:" + "".join(part.capitalize() for part in call.split("_"))
            actions |= self.CALLS.get(call, {name})
        self.assertEqual(set(facts.of_copilot("products")["actions"]), actions)


if __name__ == "__main__":
    unittest.main()

"""The two ways to deploy make one system: what their files say is equal, where it can be."""

import unittest

import facts
import support


class Agreement(unittest.TestCase):
    maxDiff = None

    def test_every_service_is_the_same_in_both(self):
        template = support.read_template(support.SYSTEM)
        for name in support.SERVICES:
            with self.subTest(name):
                self.assertEqual(facts.of_template(name, template), facts.of_copilot(name))

    def test_the_template_rolls_back_and_gives_no_public_address(self):
        resources = support.read_template(support.SYSTEM)["Resources"]
        for name in support.SERVICES:
            service = resources[f"{name.capitalize()}Service"]["Properties"]
            breaker = service["DeploymentConfiguration"]["DeploymentCircuitBreaker"]
            self.assertEqual(breaker, {"Enable": True, "Rollback": True})
            network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
            self.assertEqual(network["AssignPublicIp"], "DISABLED")
            self.assertEqual([each["Ref"] for each in network["Subnets"]], ["PrivateSubnet1", "PrivateSubnet2"])
            self.assertEqual(service["ServiceRegistries"][0]["RegistryArn"]["Fn::GetAtt"][0], f"{name.capitalize()}Discovery")
            # It would undo, at each update, what the scaling has done.
            self.assertNotIn("DesiredCount", service)

    def test_the_gateway_comes_after_the_listener_that_uses_its_target_group(self):
        service = support.read_template(support.SYSTEM)["Resources"]["GatewayService"]["Properties"]
        listener = {"Fn::If": ["HasCertificate", {"Ref": "HttpsListener"}, {"Ref": "HttpListener"}]}
        self.assertEqual(service["Tags"], [{"Key": "listener", "Value": listener}])

    def test_each_subnet_has_the_routes_of_its_kind(self):
        found = {}
        for resource in support.read_template(support.SYSTEM)["Resources"].values():
            if resource["Type"] == "AWS::EC2::SubnetRouteTableAssociation":
                properties = resource["Properties"]
                found[properties["SubnetId"]["Ref"]] = properties["RouteTableId"]["Ref"]
        self.assertEqual(
            found,
            {
                "PublicSubnet1": "PublicRoutes",
                "PublicSubnet2": "PublicRoutes",
                "PrivateSubnet1": "PrivateRoutes1",
                "PrivateSubnet2": "PrivateRoutes2",
            },
        )

    def test_connections_are_let_in_from_the_neighbour_alone(self):
        resources = support.read_template(support.SYSTEM)["Resources"]
        sources = {}
        for name, resource in resources.items():
            properties = resource["Properties"] if "Properties" in resource else {}
            if resource["Type"] == "AWS::EC2::SecurityGroup":
                for rule in properties["SecurityGroupIngress"]:
                    source = rule.get("CidrIp") or rule["SourceSecurityGroupId"]["Ref"]
                    sources.setdefault(name, set()).add((source, rule["FromPort"], rule["ToPort"]))
            elif resource["Type"] == "AWS::EC2::SecurityGroupIngress":
                source = properties["SourceSecurityGroupId"]["Ref"]
                sources[properties["GroupId"]["Ref"]].add((source, properties["FromPort"], properties["ToPort"]))
        services = {("GatewaySecurityGroup", 8080, 8080)}
        self.assertEqual(
            sources,
            {
                "LoadBalancerSecurityGroup": {("0.0.0.0/0", 80, 80), ("0.0.0.0/0", 443, 443)},
                "GatewaySecurityGroup": {
                    ("LoadBalancerSecurityGroup", 8080, 8080),
                    ("UsersSecurityGroup", 8080, 8080),
                    ("ProductsSecurityGroup", 8080, 8080),
                },
                "UsersSecurityGroup": services,
                "ProductsSecurityGroup": services,
                "DatabaseSecurityGroup": {("UsersSecurityGroup", 5432, 5432)},
            },
        )

    def test_only_what_names_no_resource_is_allowed_on_every_resource(self):
        everywhere = set()
        for path in support.templates():
            for resource in support.read_template(path)["Resources"].values():
                if not resource["Type"].startswith("AWS::IAM::"):
                    continue
                properties = resource["Properties"]
                policies = [each["PolicyDocument"] for each in properties.get("Policies", [])]
                policies += [properties[key] for key in ("PolicyDocument",) if key in properties]
                for statement in (each for policy in policies for each in policy["Statement"]):
                    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                    self.assertFalse([action for action in actions if "*" in action], path)
                    if statement["Resource"] == "*":
                        everywhere |= {(action, "Condition" in statement) for action in actions}
        self.assertEqual(
            everywhere,
            {
                ("ecr:GetAuthorizationToken", False),
                ("servicediscovery:DiscoverInstances", True),
                ("servicediscovery:DiscoverInstancesRevision", True),
            },
        )

    def test_the_database_speaks_tls_only_and_survives_its_stack(self):
        for template in map(support.read_template, (support.SYSTEM, support.COPILOT / "users" / "addons" / "database.yml")):
            resources = template["Resources"]
            self.assertEqual(resources["DatabaseParameters"]["Properties"]["Parameters"]["rds.force_ssl"], "1")
            self.assertEqual(resources["Database"]["DeletionPolicy"], "Snapshot")
            self.assertTrue(resources["Database"]["Properties"]["StorageEncrypted"])

    def test_templates_fit_into_a_request(self):
        for path in support.templates():
            self.assertLess(len(path.read_bytes()), support.TEMPLATE_LIMIT, path)


if __name__ == "__main__":
    unittest.main()

"""The CloudFormation templates, deployed against moto: an emulator of AWS that others wrote.

What moto cannot make is listed here, and in docs/deploying.md. When it learns one of them, or when
a template comes to need more, a test says so.
"""

import json
import logging
import os
import re
import unittest
import unittest.mock

import boto3
from moto import mock_aws
from moto.cloudformation.parsing import get_model_map

import support

REGION = "eu-central-1"
# Types that moto's CloudFormation does not know; cfn-lint and test_agreement.py alone look at them.
UNKNOWN_TO_MOTO = {
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::CloudWatch::Alarm",
    "AWS::RDS::DBCluster",
    "AWS::RDS::DBClusterParameterGroup",
    "AWS::SNS::Subscription",
    "AWS::SecretsManager::Secret",
    "AWS::SecretsManager::SecretTargetAttachment",
    "AWS::ServiceDiscovery::PrivateDnsNamespace",
    "AWS::ServiceDiscovery::Service",
}
# Types that moto knows, and fails at.
FAILING_IN_MOTO = {"AWS::RDS::DBInstance"}  # has no default version of aurora-postgresql
# What moto takes, and then loses or cannot do.
IN_PART_IN_MOTO = {
    "AWS::EC2::SubnetRouteTableAssociation": "associates nothing",
    "AWS::ECR::Repository": "forgets ImageScanningConfiguration and LifecyclePolicy",
    "AWS::ECS::Service": "forgets its network, starts no task: no health, no circuit breaker, no rollback",
    "AWS::ECS::TaskDefinition": "forgets RuntimePlatform",
    "AWS::IAM::Role": "allows everything to everybody",
}
NEEDED = {
    "App": "app",
    "GatewayImage": "gateway:1",
    "UsersImage": "users:1",
    "ProductsImage": "products:1",
    "JwtIssuer": "https://issuer.example/",
    "JwtAudience": "api",
}
DOMAIN = "api.example.com"


def reduced(template, without):
    """The template without resources of some types; mentions of them become plain text."""
    template = json.loads(json.dumps(template, default=str))
    gone = {name for name, resource in template["Resources"].items() if resource["Type"] in without}

    def stand_in(value):
        if isinstance(value, list):
            return [stand_in(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.get("Ref") in gone:
            return value["Ref"]
        if value.get("Fn::GetAtt", [""])[0] in gone:
            return value["Fn::GetAtt"][0]
        if isinstance(value.get("Fn::Sub"), str):
            names = "|".join(sorted(gone)) or "$^"
            return {"Fn::Sub": re.sub(rf"\$\{{({names})(\.\w+)?\}}", r"\1", value["Fn::Sub"])}
        return {key: stand_in(below) for key, below in value.items()}

    for name in gone:
        del template["Resources"][name]
    for resource in template["Resources"].values():
        before = resource.get("DependsOn", [])
        resource["DependsOn"] = [name for name in ([before] if isinstance(before, str) else before) if name not in gone]
    return stand_in(template)


def deploy(template, parameters, stack="app-test", *, update=False):
    """Deploys a template, and answers with the stack's outputs."""
    client = boto3.client("cloudformation")
    call = client.update_stack if update else client.create_stack
    call(
        StackName=stack,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    found = client.describe_stacks(StackName=stack)["Stacks"][0]
    if found["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise AssertionError(found["StackStatus"])
    return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}


class Moto(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": REGION}
        support.entered(self, unittest.mock.patch.dict(os.environ, credentials))
        support.entered(self, mock_aws())
        self.template = support.read_template(support.SYSTEM)
        self.system = reduced(self.template, UNKNOWN_TO_MOTO | FAILING_IN_MOTO)

    def listeners(self):
        client = boto3.client("elbv2")
        balancer = client.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
        found = client.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
        return {each["Port"]: (each["Protocol"], each["DefaultActions"][0]["Type"]) for each in found}

    def task(self, family):
        return boto3.client("ecs").describe_task_definition(taskDefinition=family)["taskDefinition"]


class Limits(Moto):
    def test_what_moto_does_not_know_is_exactly_what_is_listed(self):
        types = {
            resource["Type"]
            for path in (support.SYSTEM, support.REPOSITORIES)
            for resource in support.read_template(path)["Resources"].values()
        }
        self.assertEqual(types - set(get_model_map()), UNKNOWN_TO_MOTO)
        self.assertLessEqual(FAILING_IN_MOTO, types & set(get_model_map()))

    def test_what_moto_fails_at_still_fails(self):
        for kind in FAILING_IN_MOTO:
            with self.assertRaises(Exception, msg=f"{kind} is made now: strike it from the list"):
                deploy(reduced(self.template, UNKNOWN_TO_MOTO | FAILING_IN_MOTO - {kind}), NEEDED)

    def test_the_guide_lists_what_moto_could_not_check(self):
        guide = (support.ROOT / "docs" / "deploying.md").read_text()
        named = set(re.findall(r"`(AWS::\w+::\w+)`", guide))
        self.assertEqual(named, UNKNOWN_TO_MOTO | FAILING_IN_MOTO | set(IN_PART_IN_MOTO))


    def test_what_moto_makes_in_part_it_still_does(self):
        deploy(self.system, NEEDED)
        tables = boto3.client("ec2").describe_route_tables()["RouteTables"]
        self.assertEqual([each for table in tables for each in table["Associations"] if "SubnetId" in each], [])
        self.assertNotIn("runtimePlatform", self.task("app-test-gateway"))
        service = boto3.client("ecs").describe_services(cluster="app-test", services=["gateway"])["services"][0]
        self.assertEqual(service["runningCount"], 0)
        deploy(support.read_template(support.REPOSITORIES), {"App": "app"}, "app-test-repositories")
        repository = boto3.client("ecr").describe_repositories()["repositories"][0]
        self.assertNotIn("scanOnPush", repository["imageScanningConfiguration"])


class System(Moto):
    def test_outputs_name_what_scripts_ask_for(self):
        outputs = deploy(self.system, NEEDED)
        self.assertTrue(outputs["PublicUrl"].startswith("http://"), outputs)
        self.assertEqual(outputs["ClusterName"], "app-test")
        for name in support.SERVICES:
            self.assertEqual(outputs[f"LogGroup{name.capitalize()}"], f"/app/test/{name}")
            self.assertEqual(outputs[f"{name.capitalize()}ServiceName"], name)

    def test_plain_http_without_a_certificate(self):
        deploy(self.system, NEEDED)
        self.assertEqual(self.listeners(), {80: ("HTTP", "forward")})

    def test_a_redirect_with_a_certificate(self):
        certificate = boto3.client("acm").request_certificate(DomainName=DOMAIN)["CertificateArn"]
        outputs = deploy(self.system, NEEDED | {"CertificateArn": certificate, "DomainName": DOMAIN})
        self.assertEqual(self.listeners(), {80: ("HTTP", "redirect"), 443: ("HTTPS", "forward")})
        self.assertEqual(outputs["PublicUrl"], f"https://{DOMAIN}")

    def test_tasks_are_private_and_get_out_through_nat(self):
        deploy(self.system, NEEDED)
        client = boto3.client("ec2")
        ways_out = []
        for table in client.describe_route_tables()["RouteTables"]:
            for route in table["Routes"]:
                if route.get("DestinationCidrBlock") == "0.0.0.0/0":
                    endpoints = sum("DestinationPrefixListId" in other for other in table["Routes"])
                    way = route.get("GatewayId") or route["NatGatewayId"]
                    ways_out.append((way.partition("-")[0], endpoints))
        # The private ones reach DynamoDB and S3 past the NAT gateway.
        self.assertEqual(sorted(ways_out), [("igw", 0), ("nat", 2), ("nat", 2)])
        found = client.describe_subnets(Filters=[{"Name": "cidr-block", "Values": ["10.0.*"]}])["Subnets"]
        subnets = {each["CidrBlock"]: each for each in found}
        self.assertEqual(len({each["AvailabilityZone"] for each in subnets.values()}), 2)
        self.assertEqual(len(client.describe_nat_gateways()["NatGateways"]), 1)

    def test_two_nat_gateways_when_asked_for(self):
        deploy(self.system, NEEDED | {"NatGateways": "2"})
        self.assertEqual(len(boto3.client("ec2").describe_nat_gateways()["NatGateways"]), 2)

    def test_tasks_get_what_the_programs_read(self):
        deploy(self.system, NEEDED | {"JwtScopePrefix": "api/"})
        namespace = "test.app.local"
        keys = f"http://gateway.{namespace}:8080/.well-known/gateway-jwks.json"
        for name, expected in {
            "gateway": {"JWT_ISSUER": "https://issuer.example/", "JWT_AUDIENCE_CLAIM": "aud", "JWT_SCOPE_PREFIX": "api/"},
            "users": {"REQUIRE_GATEWAY": keys, "GATEWAY_AUDIENCE": "users-svc"},
            "products": {"REQUIRE_GATEWAY": keys, "DATABASE_URL": "dynamodb:app-test-products"},
        }.items():
            task = self.task(f"app-test-{name}")
            container = task["containerDefinitions"][0]
            variables = {each["name"]: each["value"] for each in container["environment"]}
            self.assertLessEqual(expected.items(), variables.items())
            self.assertEqual(variables["COPILOT_SERVICE_DISCOVERY_ENDPOINT"], namespace)
            self.assertEqual(container["image"], f"{name}:1")
            self.assertEqual(container["stopTimeout"], 30)
            self.assertTrue(container["readonlyRootFilesystem"])

    def test_a_new_image_is_a_new_revision_of_its_service_alone(self):
        deploy(self.system, NEEDED)
        deploy(self.system, NEEDED | {"UsersImage": "users:2"}, update=True)
        self.assertEqual(self.task("app-test-users")["revision"], 2)
        self.assertEqual(self.task("app-test-gateway")["revision"], 1)

    def test_the_table_takes_rows_as_the_service_writes_them(self):
        deploy(self.system, NEEDED)
        table = boto3.client("dynamodb").describe_table(TableName="app-test-products")["Table"]
        self.assertEqual(table["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST")
        self.assertEqual([key["KeyType"] for key in table["KeySchema"]], ["HASH", "RANGE"])


class Repositories(Moto):
    def test_there_is_one_for_each_service_and_tags_stay(self):
        outputs = deploy(support.read_template(support.REPOSITORIES), {"App": "app"}, "app-test-repositories")
        found = {each["repositoryUri"]: each for each in boto3.client("ecr").describe_repositories()["repositories"]}
        for name in support.SERVICES:
            repository = found[outputs[f"{name.capitalize()}Repository"]]
            self.assertEqual(repository["repositoryName"], f"app/test/{name}")
            self.assertEqual(repository["imageTagMutability"], "IMMUTABLE")


logging.getLogger("moto").setLevel(logging.ERROR)

if __name__ == "__main__":
    unittest.main()

"""The images, without building one: the Dockerfile against the repository, the manifests and Docker's
habits. tests/images.sh builds them and looks inside."""

import datetime
import re
import tomllib
import unittest

import dockerfile
import support
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = support.ROOT
BUNDLE = ROOT / "users-svc" / "rds-global-bundle.pem"
# Long enough to notice, and to build and deploy new images.
NOTICE = datetime.timedelta(days=365)


def toml(name):
    return tomllib.loads((ROOT / name).read_text())


def manifest(name):
    return support.read_yaml(support.COPILOT / name / "manifest.yml")


class Build(unittest.TestCase):
    def test_every_source_exists_and_reaches_the_build(self):
        for name in dockerfile.stages():
            for stage, sources, _ in dockerfile.copies(name):
                if stage is not None:
                    self.assertIn(stage, dockerfile.stages())
                    continue
                for source in sources:
                    self.assertTrue((ROOT / source).exists(), source)
                    self.assertTrue(source == "." or not dockerfile.is_ignored(source.rstrip("/")), source)

    def test_the_layer_of_dependencies_knows_every_crate(self):
        members = set(toml("Cargo.toml")["workspace"]["members"])
        copied = {source for _, sources, _ in dockerfile.copies("build") for source in sources}
        self.assertLessEqual({f"{member}/Cargo.toml" for member in members}, copied)
        _, build = dockerfile.stages()["build"]
        made = next(re.search(r"for crate in ([\w/ -]+);", text) for word, text in build if word == "RUN" and "for crate" in text)
        self.assertEqual(set(made[1].split()), members)

    def test_cargo_reads_every_manifest_without_the_tests(self):
        # A test without a path makes cargo look for its file, and `tests` is not sent.
        for member in toml("Cargo.toml")["workspace"]["members"]:
            for test in toml(f"{member}/Cargo.toml").get("test", []):
                self.assertIn("path", test, f"{member}: {test['name']}")

    def test_the_profile_is_made_as_the_image_is_built_otherwise(self):
        # What was counted is found again only if both builds are of the same kind.
        _, build = dockerfile.stages()["build-gateway"]
        made = next(text for word, text in build if word == "RUN")
        self.assertEqual(len(re.findall(r"cargo auditable build", made)), 2)
        self.assertIn("PGO_BUILD='cargo auditable build' bench/pgo.sh", made)
        default = next(arguments for word, arguments in dockerfile.instructions() if word == "ARG" and arguments.startswith("PGO="))
        self.assertEqual(default, "PGO=auto")

    def test_the_compiler_is_the_one_that_everybody_uses(self):
        image = next(arguments for word, arguments in dockerfile.instructions() if word == "ARG" and arguments.startswith("RUST_IMAGE="))
        channel = toml("rust-toolchain.toml")["toolchain"]["channel"]
        self.assertRegex(image, rf"=rust:{re.escape(channel)}-\w+$")

    def test_nothing_private_and_nothing_large_is_sent(self):
        for path in (
            ".git/config", ".env", ".local/keys/rs256.pem", ".venv/bin/python", "target/release/gateway", "users.db",
            "copilot/.workspace", "copilot/users/manifest.yml", "docs/images.md", "gateway/tests/shell/main.rs",
            "gateway/core/src/file/tests/good.rs", "bench/pingora-minimal/src/main.rs", "bench/tests/main.rs",
        ):
            self.assertTrue(dockerfile.is_ignored(path), path)
        for path in ("Cargo.lock", "gateway/src/main.rs", "gateway/core/src/lib.rs", "users-svc/migrations/0001_schema.sql", "bench/pgo.sh"):
            self.assertFalse(dockerfile.is_ignored(path), path)


class Images(unittest.TestCase):
    def test_each_manifest_builds_a_target_and_starts_it_as_the_image_itself_would(self):
        for name in support.SERVICES:
            image = manifest(name)["image"]
            build = image["build"]
            self.assertEqual((build["dockerfile"], build["context"]), ("Dockerfile", "."))
            target = build["target"]
            self.assertEqual(target, name)
            self.assertEqual(dockerfile.words(dockerfile.last(target, "ENTRYPOINT")), manifest(name)["entrypoint"])
            self.assertEqual(dockerfile.words(dockerfile.last(target, "CMD") or "[]"), manifest(name).get("command", []))
            self.assertEqual(int(dockerfile.last(target, "EXPOSE")), image["port"])
            health = image["healthcheck"]
            options, command = dockerfile.last(target, "HEALTHCHECK").split(" CMD ")
            self.assertEqual(["CMD", *dockerfile.words(command)], health["command"])
            for option, value in (each.removeprefix("--").split("=") for each in options.split()):
                self.assertEqual(value, health[option.replace("-", "_")], f"{name}: {option}")

    def test_the_images_hold_what_manifests_and_template_name(self):
        for name in support.SERVICES:
            held = {to for _, _, to in dockerfile.copies(name)}
            service = manifest(name)
            named = [*service["entrypoint"], *service.get("command", []), *map(str, service["variables"].values())]
            self.assertLessEqual({path for path in named if path.startswith("/")}, held, name)

    def test_they_start_from_nothing_as_nobody(self):
        for name in support.SERVICES:
            self.assertEqual(dockerfile.stages()["base"][0], "scratch")
            self.assertEqual(dockerfile.stages()[name][0], "base")
            self.assertRegex(dockerfile.last(name, "USER"), r"^[1-9]\d*:[1-9]\d*$")
            self.assertEqual(dockerfile.last(name, "STOPSIGNAL"), "SIGTERM")
            # There is no shell that could run anything.
            self.assertNotIn("RUN", [word for word, _ in dockerfile.whole(name)])

    def test_nothing_is_fetched_by_the_builder_and_no_secret_is_an_argument(self):
        for word, arguments in dockerfile.instructions():
            self.assertNotEqual(word, "ADD", arguments)
            if word in ("ARG", "ENV"):
                self.assertNotRegex(arguments.lower(), "password|secret|token|api_?key")

    def test_images_of_others_have_a_version_and_no_host(self):
        sources = [arguments.partition("=")[2] for word, arguments in dockerfile.instructions() if word == "ARG" and "IMAGE" in arguments]
        sources += [source for source, _ in dockerfile.stages().values() if "$" not in source and source not in {*dockerfile.stages(), "scratch"}]
        self.assertTrue(sources)
        for source in sources:
            self.assertRegex(source, r"^[\w-]+(/[\w-]+)?:[\w.-]+$")
            self.assertNotIn(":latest", source)


class Authorities(unittest.TestCase):
    """The roots of Amazon RDS in the users service's image."""

    @classmethod
    def setUpClass(cls):
        cls.roots = x509.load_pem_x509_certificates(BUNDLE.read_bytes())
        cls.names = [root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value for root in cls.roots]

    def test_every_one_is_a_root_of_amazon_rds(self):
        for root, name in zip(self.roots, self.names, strict=True):
            self.assertEqual(root.subject, root.issuer, name)
            root.verify_directly_issued_by(root)
            self.assertTrue(root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca, name)
            self.assertTrue(root.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign, name)
            organization = root.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)[0].value
            self.assertEqual(organization, "Amazon Web Services, Inc.")

    def test_none_expires_within_a_year(self):
        until = datetime.datetime.now(datetime.timezone.utc) + NOTICE
        for root, name in zip(self.roots, self.names, strict=True):
            self.assertGreater(root.not_valid_after_utc, until, f"{name}; docs/images.md says how to renew the bundle")

    def test_each_region_has_one_of_each_kind(self):
        kinds = {}
        for root, name in zip(self.roots, self.names, strict=True):
            region, kind = re.fullmatch(r"Amazon RDS ([\w-]+) Root CA (RSA2048|RSA4096|ECC384) G1", name).groups()
            key = root.public_key()
            algorithm = "ECC" if isinstance(key, ec.EllipticCurvePublicKey) else "RSA"
            self.assertEqual(kind, f"{algorithm}{key.key_size}")
            kinds.setdefault(region, []).append(kind)
        self.assertGreaterEqual(len(kinds), 27)
        for region, found in kinds.items():
            self.assertEqual(sorted(found), ["ECC384", "RSA2048", "RSA4096"], region)

    def test_each_is_under_its_name(self):
        self.assertEqual(re.findall(r"^# (Amazon RDS .*)\n-----BEGIN", BUNDLE.read_text(), re.MULTILINE), self.names)

    def test_both_ways_to_deploy_name_it(self):
        path = manifest("users")["variables"]["DATABASE_CA"]
        self.assertIn((None, ["users-svc/rds-global-bundle.pem"], path), dockerfile.copies("users"))
        containers = support.read_template(support.SYSTEM)["Resources"]["UsersTask"]["Properties"]["ContainerDefinitions"]
        self.assertIn({"Name": "DATABASE_CA", "Value": path}, containers[0]["Environment"])


if __name__ == "__main__":
    unittest.main()

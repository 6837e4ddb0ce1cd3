"""What Copilot's own code makes of the folder copilot/, where Go is at hand.

The program in tests/copilot_manifests reads and validates each manifest as Copilot does, renders
the templates, and applies the patches. Its first build takes about a minute and a half on two
cores and some 60 MB of modules; then it is kept in .venv/copilot.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import linting
import support

SOURCE = support.ROOT / "tests" / "copilot_manifests"
BUILT = support.ROOT / ".venv" / "copilot"
MODULE = "github.com/aws/copilot-cli"
BUILD_LIMIT_SECONDS = 900
RUN_LIMIT_SECONDS = 60
# As `copilotw.sh` exports them; one may be empty.
VARIABLES = {
    "JWT_ISSUER": "https://issuer.example/",
    "JWT_AUDIENCE": "api",
    "JWT_AUDIENCE_CLAIM": "aud",
    "JWT_SCOPE_PREFIX": "",
}
PROGRAM = None


def setUpModule():
    global PROGRAM
    if shutil.which("go") is None:
        if os.environ.get("CI"):
            raise RuntimeError("go is missing, and CI is set: Copilot's own code has to be asked there")
        print("templates: go is missing, so Copilot's own code was not asked; install Go 1.23 or newer", file=sys.stderr)
        raise unittest.SkipTest("go is missing")
    PROGRAM = build()


def go(*arguments, folder):
    done = subprocess.run(
        ["go", *arguments], cwd=folder, capture_output=True, text=True, timeout=BUILD_LIMIT_SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"go {arguments[0]}: {done.stderr}")
    return done.stdout.strip()


def build():
    """The program, built unless this very source is."""
    sources = sorted(path for path in SOURCE.iterdir() if path.suffix in (".go", ".mod", ".sum"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    program = BUILT / f"gateway-{digest}"
    if program.exists():
        return program
    BUILT.mkdir(parents=True, exist_ok=True)
    print("templates: building Copilot's own code, which takes minutes the first time", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=BUILT) as folder:
        for path in sources:
            shutil.copy(path, folder)
        go("mod", "vendor", folder=folder)
        # Copilot embeds its helper functions, which its release process makes and its module lacks.
        # Their sources take their place; only their hash shows in the templates.
        module = Path(go("list", "-mod=mod", "-m", "-f", "{{.Dir}}", MODULE, folder=folder))
        helpers = Path(folder, "vendor", MODULE, "internal/pkg/template/templates/custom-resources")
        helpers.mkdir(parents=True)
        for helper in (module / "cf-custom-resources" / "lib").glob("*.js"):
            (helpers / helper.name).write_bytes(helper.read_bytes())
        go("build", "-mod=vendor", "-o", str(program), ".", folder=folder)
    return program


def ask(*arguments, variables=None):
    return subprocess.run(
        [str(PROGRAM), *map(str, arguments)],
        env={"PATH": os.environ["PATH"]} | (VARIABLES if variables is None else variables),
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_SECONDS,
        check=False,
    )


class Copilot(unittest.TestCase):
    def setUp(self):
        self.folder = Path(support.entered(self, tempfile.TemporaryDirectory()))

    def copy(self):
        return Path(shutil.copytree(support.COPILOT, self.folder / "copilot"))

    def refusal(self, copy, **kinds):
        done = ask("render", copy, self.folder, **kinds)
        self.assertEqual(done.returncode, 1, done.stdout)
        return done.stderr

    def test_the_program_is_formatted(self):
        done = subprocess.run(["gofmt", "-l", SOURCE], capture_output=True, text=True, check=True, timeout=RUN_LIMIT_SECONDS)
        self.assertEqual(done.stdout, "")

    def test_manifests_are_valid_patches_fit_and_what_is_rendered_is_clean(self):
        done = ask("render", support.COPILOT, self.folder)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        rendered = sorted(self.folder.glob("*.yml"))
        self.assertEqual([path.stem for path in rendered], ["environment", "gateway", "products", "users"])
        self.assertEqual(linting.lint(rendered, ignored=linting.RENDERED_EXCEPT), [])

    def test_no_function_keeps_a_runtime_that_aws_closes(self):
        self.assertEqual(ask("render", support.COPILOT, self.folder).returncode, 0)
        runtimes = set()
        for path in self.folder.glob("*.yml"):
            for resource in support.read_template(path)["Resources"].values():
                runtimes.add(resource.get("Properties", {}).get("Runtime"))
        self.assertEqual(runtimes - {None}, {"nodejs24.x"})

    def test_tasks_stop_in_time_and_get_what_the_addons_make(self):
        self.assertEqual(ask("render", support.COPILOT, self.folder).returncode, 0)
        injected = {"gateway": set(), "users": {"DATABASE_SECRET"}, "products": {"DATABASE_URL"}}
        for name, names in injected.items():
            resources = support.read_template(self.folder / f"{name}.yml")["Resources"]
            container = resources["TaskDefinition"]["Properties"]["ContainerDefinitions"][0]
            self.assertEqual(container["StopTimeout"], 30)
            self.assertTrue(container["ReadonlyRootFilesystem"])
            given = {each["Name"] for each in container["Environment"] + container.get("Secrets", [])}
            self.assertLessEqual(names, given)
            network = resources["Service"]["Properties"]["NetworkConfiguration"]["AwsvpcConfiguration"]
            self.assertEqual(network["AssignPublicIp"], "DISABLED")

    def test_the_keys_that_are_kept_are_those_of_this_copilot(self):
        known = json.loads(ask("keys").stdout)
        self.assertEqual(
            known, support.known_keys(), f"renew it: {PROGRAM} keys > {support.KNOWN_KEYS.relative_to(support.ROOT)}"
        )

    def test_mistakes_are_refused(self):
        for file, old, new, told in [
            ("gateway/manifest.yml", "range: 2-8", "range: 8-2", "range"),
            ("gateway/manifest.yml", "placement: private", "placement: hidden", "placement"),
            ("gateway/manifest.yml", "  path: '/'\n", "", "path"),
            ("users/manifest.yml", "  cpu_percentage: 60\n  memory_percentage: 80\n", "", "cpu_percentage"),
            ("users/overrides/cfn.patches.yml", "EnvControllerFunction", "EnvControlerFunction", "EnvControlerFunction"),
            ("environments/overrides/cfn.patches.yml", "CustomDomainFunction", "CustomDomains", "CustomDomains"),
            ("users/addons/database.yml", "  Name: {Type: String, Description: The service that this belongs to.}\n", "", "Name"),
        ]:
            with self.subTest(new or old):
                copy = self.copy()
                text = (copy / file).read_text()
                self.assertEqual(text.count(old), 1)
                (copy / file).write_text(text.replace(old, new))
                self.assertIn(told, self.refusal(copy))
                shutil.rmtree(copy)

    def test_a_domain_is_given_as_the_guide_says(self):
        guide = (support.ROOT / "docs" / "deploying.md").read_text()
        environment, gateway = re.findall(r"```yaml[^\n]*\n(http:\n.*?)```", guide, re.DOTALL)
        copy = self.copy()
        manifest = copy / "environments" / support.ENVIRONMENT / "manifest.yml"
        certificate = "arn:aws:acm:eu-central-1:123456789012:certificate/0"
        manifest.write_text(manifest.read_text() + environment.replace('"ARN"', f'"{certificate}"'))
        manifest = copy / "gateway" / "manifest.yml"
        manifest.write_text(manifest.read_text().replace("http:\n", gateway, 1))
        # The functions that make certificates are gone then, and so must be their patches.
        self.assertIn("CertificateValidationFunction", self.refusal(copy))
        patches = copy / "environments" / "overrides" / "cfn.patches.yml"
        patches.write_text(re.sub(r"- op: replace\n.*\n.*\n", "", patches.read_text()))
        done = ask("render", copy, self.folder)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        rendered = (self.folder / "gateway.yml").read_text()
        self.assertIn("HTTPSListenerRule", rendered)
        self.assertIn("api.example.com", rendered)

    def test_each_variable_is_needed_and_named(self):
        for name in VARIABLES:
            rest = {key: value for key, value in VARIABLES.items() if key != name}
            self.assertIn(name, self.refusal(support.COPILOT, variables=rest))


if __name__ == "__main__":
    unittest.main()

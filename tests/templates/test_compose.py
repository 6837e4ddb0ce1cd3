"""compose.yaml and compose.postgres.yaml: by Compose's own code where Go is at hand, and by rules of ours.

The program in tests/compose is what `docker compose config` is made of. It is built once, in
seconds, and kept in .venv/compose.
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

import dockerfile
import support

SOURCE = support.ROOT / "tests" / "compose"
BUILT = support.ROOT / ".venv" / "compose"
ROUTES = support.COPILOT / "compose" / "routes.yaml"
PLAIN, WITH_POSTGRES = ("compose.yaml",), ("compose.yaml", "compose.postgres.yaml")
LIMIT_SECONDS = 300
PROGRAM = None


def setUpModule():
    global PROGRAM
    if shutil.which("go") is None:
        if os.environ.get("CI"):
            raise RuntimeError("go is missing, and CI is set: Compose's own code has to be asked there")
        print("templates: go is missing, so compose.yaml was not checked; install Go 1.23 or newer", file=sys.stderr)
        raise unittest.SkipTest("go is missing")
    sources = sorted(path for path in SOURCE.iterdir() if path.suffix in (".go", ".mod", ".sum"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    PROGRAM = BUILT / f"compose-{digest}"
    if not PROGRAM.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["go", "build", "-o", PROGRAM, "."], cwd=SOURCE, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )
        if done.returncode:
            raise RuntimeError(f"go build: {done.stderr}")


def ask(files, **variables):
    return subprocess.run(
        [PROGRAM, *files], cwd=support.ROOT, env=variables, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )


def project(files, **variables):
    done = ask(files, **variables)
    if done.returncode or done.stderr:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)


class Compose(unittest.TestCase):
    def test_the_program_is_formatted(self):
        done = subprocess.run(["gofmt", "-l", SOURCE], capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS)
        self.assertEqual(done.stdout, "")

    def test_what_compose_does_not_know_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "compose.yaml")
            copy.write_text((support.ROOT / "compose.yaml").read_text().replace("cap_drop:", "cap_dorp:"))
            done = ask([copy])
        self.assertEqual(done.returncode, 1)
        self.assertIn("cap_dorp", done.stderr)

    def test_what_is_ours_is_a_target_of_the_dockerfile_and_confined(self):
        services = project(PLAIN)["services"]
        for name, service in services.items():
            target = service["build"]["target"]
            self.assertIn(target, support.SERVICES)
            self.assertEqual(service["image"], f"gateway/{target}", name)
            self.assertTrue(service["read_only"], name)
            self.assertEqual(service["cap_drop"], ["ALL"], name)
            self.assertEqual(service["security_opt"], ["no-new-privileges:true"], name)
            if service.get("user"):
                # Owner of a new volume; without the network, so that nobody can talk to it.
                self.assertEqual(service["network_mode"], "none", name)

    def test_images_of_others_have_a_version_and_no_host(self):
        services = project(WITH_POSTGRES)["services"]
        images = {service["image"] for service in services.values() if "build" not in service}
        self.assertEqual(images, {"postgres:17"})

    def test_ports_are_open_on_this_machine_alone_and_can_be_moved(self):
        services = project(WITH_POSTGRES, GATEWAY_PORT="8088", GATEWAY_ADMIN_PORT="9099")["services"]
        ports = {(name, port["host_ip"], port["published"], port["target"]) for name in services for port in services[name].get("ports", [])}
        self.assertEqual(ports, {("gateway", "127.0.0.1", "8088", 8080), ("gateway", "127.0.0.1", "9099", 9090)})

    def test_files_that_are_mounted_exist(self):
        for service in project(WITH_POSTGRES)["services"].values():
            for volume in service.get("volumes", []):
                if volume["type"] == "bind":
                    self.assertTrue(Path(volume["source"]).is_file(), volume)
                    self.assertTrue(volume["read_only"], volume)

    def test_the_gateway_reads_the_public_keys_and_cannot_change_them(self):
        services = project(PLAIN)["services"]
        self.assertEqual(services["issuer"]["command"], services["token"]["command"])
        _, _, directory, _, file = services["issuer"]["command"]
        self.assertEqual(support.read_yaml(ROUTES)["jwt_providers"]["main"]["jwks_file"], file)
        mounted = next(volume for volume in services["gateway"]["volumes"] if volume["type"] == "volume")
        self.assertEqual((mounted["target"], mounted["read_only"]), (directory, True))
        self.assertEqual(dockerfile.last("gateway", "USER"), "65532:65532")
        self.assertEqual(services["gateway"]["depends_on"]["issuer"]["condition"], "service_completed_successfully")

    def test_the_routes_lead_to_the_services_and_ask_for_the_scopes_of_production(self):
        routes, production = support.read_yaml(ROUTES), support.read_yaml(support.ROUTES)
        services = project(PLAIN)["services"]
        self.assertEqual(services["gateway"]["command"][-1], services["gateway"]["volumes"][0]["target"])
        for name, upstream in routes["upstreams"].items():
            self.assertEqual(upstream["dns"]["name"], name)
            self.assertEqual(services[name]["environment"]["GATEWAY_AUDIENCE"], upstream["identity"])
            self.assertEqual(upstream["identity"], production["upstreams"][name]["identity"])
            self.assertEqual(str(upstream["dns"]["port"]), dockerfile.last(name, "EXPOSE"))
        scopes = lambda file: {each["name"]: each["auth"]["require"]["scopes"]["all"] for each in file["routes"] if each["auth"] != "none"}
        wanted = {name: [re.sub(r"\$\{.*?\}", "", scope) for scope in each] for name, each in scopes(production).items()}
        self.assertEqual(scopes(routes), wanted)

    def test_postgres_is_asked_over_tls_with_the_authority_that_was_made_for_it(self):
        services = project(WITH_POSTGRES, POSTGRES_PASSWORD="secret")["services"]
        environment = services["users"]["environment"]
        self.assertEqual(environment["DATABASE_URL"], "postgres://users:secret@postgres:5432/users")
        script = services["certificate"]["command"][0]
        self.assertIn("subjectAltName=DNS:postgres", script)
        self.assertIn("mv new.pem server.pem", script)
        self.assertEqual(Path(environment["DATABASE_CA"]).name, "ca.pem")
        self.assertIn("-out ca.pem", script)
        # What compose.yaml gives is still there.
        self.assertIn("REQUIRE_GATEWAY", environment)


if __name__ == "__main__":
    unittest.main()

"""The JSON Schema of the routes file takes every sample, and refuses what is no routes file."""

import json
import re
import unittest

import yaml
from jsonschema import Draft202012Validator

import support

SCHEMA = support.ROOT / "docs" / "routes-file.schema.json"
SAMPLES = (
    support.ROUTES,
    support.ROOT / "gateway" / "src" / "dev" / "routes.yaml",
    support.ROOT / "gateway" / "core" / "src" / "file" / "tests" / "corpus" / "everything.yaml",
)
README = support.ROOT / "README.md"
SERVER_LINE = "# yaml-language-server: $schema="


def validator():
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def refusals(document):
    return [error.message for error in validator().iter_errors(document)]


class RoutesSchema(unittest.TestCase):
    def test_every_sample_is_taken(self):
        for sample in SAMPLES:
            with self.subTest(sample=sample.name):
                self.assertEqual(refusals(yaml.safe_load(sample.read_text())), [])

    def test_the_sample_of_the_readme_is_taken(self):
        blocks = re.findall(r"```yaml[^\n]*\n(version: 1\n.*?)```", README.read_text(), re.DOTALL)
        self.assertTrue(blocks)
        for block in blocks:
            self.assertEqual(refusals(yaml.safe_load(block)), [])

    def test_every_sample_names_the_schema(self):
        for sample in SAMPLES:
            with self.subTest(sample=sample.name):
                first = sample.read_text().splitlines()[0]
                self.assertTrue(first.startswith(SERVER_LINE), first)
                named = sample.parent / first.removeprefix(SERVER_LINE)
                self.assertEqual(named.resolve(), SCHEMA)

    def test_what_is_no_routes_file_is_refused(self):
        good = support.ROUTES.read_text()
        for old, new in (
            ("upstreams:", "upstream:"),
            ("drain: 20s", "drain: 20 seconds"),
            ("algorithms: [RS256, ES256]", "algorithms: [RS255]"),
            ("discovery: true", "discovery: maybe"),
            ("methods: [GET]", "methods: GET"),
            ("status: 200", "status: ok"),
        ):
            with self.subTest(new=new):
                self.assertIn(old, good)
                document = yaml.safe_load(good.replace(old, new, 1))
                self.assertNotEqual(refusals(document), [])


if __name__ == "__main__":
    unittest.main()

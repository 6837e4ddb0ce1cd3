"""Where things are, and how they are read."""

import json
from pathlib import Path

import yaml
from cfnlint.decode import cfn_yaml

ROOT = Path(__file__).resolve().parents[2]
COPILOT = ROOT / "copilot"
SERVICES = ("gateway", "users", "products")
ENVIRONMENT = "test"
APPLICATION = "app"
# The largest template that the AWS CLI sends without a bucket, in bytes.
TEMPLATE_LIMIT = 51_200

SYSTEM = COPILOT / "cloudformation" / "system.yaml"
REPOSITORIES = COPILOT / "cloudformation" / "repositories.yaml"
ROUTES = COPILOT / "gateway" / "routes.yaml"
KNOWN_KEYS = Path(__file__).with_name("copilot_keys.json")


def addons():
    """Every addon template, as (service, path)."""
    return [(name, path) for name in SERVICES for path in sorted((COPILOT / name / "addons").iterdir())]


def manifests():
    """Every manifest's path."""
    return [COPILOT / name / "manifest.yml" for name in SERVICES] + [
        COPILOT / "environments" / ENVIRONMENT / "manifest.yml"
    ]


def patches():
    """Every patch file's path."""
    return [COPILOT / name / "overrides" / "cfn.patches.yml" for name in (*SERVICES, "environments")]


def templates():
    """Every CloudFormation template's path, the addons' included."""
    return [SYSTEM, REPOSITORIES, *(path for _, path in addons())]


def read_yaml(path):
    """A file without CloudFormation's tags."""
    return yaml.safe_load(path.read_text())


class _Tags(yaml.SafeLoader):
    """Reads !Ref and its like as the plain value behind it."""


_Tags.add_multi_constructor("!", lambda loader, _, node: _plain(loader, node))


def _plain(loader, node):
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


def read_yaml_with_tags(path):
    """A list of patches, whose values may be resources."""
    return yaml.load(path.read_text(), Loader=_Tags)


def read_template(path):
    """A template; !Ref and its like as {"Ref": ...}."""
    return cfn_yaml.load(str(path))


def entered(test, manager):
    """What a context manager gives, until the test's end."""
    value = manager.__enter__()
    test.addCleanup(manager.__exit__, None, None, None)
    return value


def known_keys():
    """The keys that Copilot reads, by the manifest's type."""
    return json.loads(KNOWN_KEYS.read_text())

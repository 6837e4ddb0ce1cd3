"""cfn-lint, with all its checks but for those that are named here with their reasons."""

import subprocess
import sys
from pathlib import Path

# Regions in which everything that the templates use exists.
REGIONS = ("eu-central-1", "eu-west-1", "us-east-1", "us-west-2")
# Of what Copilot renders: conditions of its own that cfn-lint cannot see through, and remarks on
# Copilot's style. Errors stay errors.
RENDERED_EXCEPT = (
    "E3676",  # the HTTPS listener's certificates, which a condition brings
    "W",
    "I",
)
TIME_LIMIT_SECONDS = 300


def lint(paths, *, ignored=()):
    """The linter's remarks, one a line; none for a clean template."""
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--format", "parseable", "--include-checks", "I"]
    command += ["--regions", *REGIONS]
    if ignored:
        command += ["--ignore-checks", *ignored]
    done = subprocess.run(
        [*command, "--", *map(str, paths)], capture_output=True, text=True, timeout=TIME_LIMIT_SECONDS, check=False
    )
    if done.returncode and not done.stdout:
        raise RuntimeError(done.stderr)
    return done.stdout.splitlines()

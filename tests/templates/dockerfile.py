"""The Dockerfile and .dockerignore, read as far as this repository writes them."""

import functools
import json
import re
import shlex

import support

DOCKERFILE = support.ROOT / "Dockerfile"
IGNORED = support.ROOT / ".dockerignore"


def instructions():
    """Every instruction as (word, arguments), continued lines joined and comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def stages():
    """Every stage by name, as (what it is built from, its instructions)."""
    found, current = {}, []
    for word, arguments in instructions():
        if word == "FROM":
            source, _, name = arguments.split()
            found[name] = (source, current := [])
        else:
            current.append((word, arguments))
    return found


def whole(name):
    """A stage's instructions after those of all stages that it is built from."""
    source, own = stages()[name]
    return (whole(source) if source in stages() else []) + own


def last(name, word):
    """The arguments that count where an instruction stands several times; None without one."""
    return next((arguments for found, arguments in reversed(whole(name)) if found == word), None)


def words(arguments):
    """The exec form, as a list; what is in the shell form is an error."""
    return json.loads(arguments)


def copies(stage):
    """Every COPY as (stage that it is from or None, sources, destination)."""
    found = []
    for word, arguments in whole(stage):
        if word == "COPY":
            parts = shlex.split(arguments)
            options = dict(part[2:].split("=", 1) for part in parts if part.startswith("--"))
            *sources, to = (part for part in parts if not part.startswith("--"))
            found.append((options.get("from"), sources, to))
    return found


@functools.cache
def _rules():
    lines = [line.strip() for line in IGNORED.read_text().splitlines()]
    return [
        (not line.startswith("!"), _expression(line.removeprefix("!").strip("/")))
        for line in lines
        if line and not line.startswith("#")
    ]


def _expression(pattern):
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    text = re.sub(r"\*\*/|\*\*|\*|\?|[^*?]+", lambda part: parts.get(part[0]) or re.escape(part[0]), pattern)
    # What matches a folder matches all that is in it.
    return re.compile(f"{text}(?:/.*)?")


def is_ignored(path):
    """Whether Docker leaves this path out: the last rule that matches it counts."""
    ignored = False
    for ignores, expression in _rules():
        if expression.fullmatch(str(path)):
            ignored = ignores
    return ignored

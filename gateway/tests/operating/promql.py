"""Reads a JSON list of PromQL expressions, writes what each asks for as another.

    {"selectors": [["name", ["label", …]], …], "grouping": ["label", …]}

An expression that is not PromQL ends it with an error.
"""

import json
import sys

import promql_parser as promql


def labels_of(modifier):
    """The labels of `by`, `without`, `on`, `ignoring` or `group_left`."""
    for part in (modifier, getattr(modifier, "matching", None)):
        yield from getattr(part, "labels", None) or []
    yield from getattr(modifier, "group_labels", None) or []


def walk(node, found):
    if node is None:
        return
    if isinstance(node, promql.MatrixSelector):
        walk(node.vector_selector, found)
    elif isinstance(node, promql.VectorSelector):
        matchers = [matcher.name for matcher in node.matchers.matchers]
        found["selectors"].append([node.name, matchers])
    elif isinstance(node, promql.BinaryExpr):
        found["grouping"].extend(labels_of(node.modifier))
        walk(node.lhs, found)
        walk(node.rhs, found)
    elif isinstance(node, promql.AggregateExpr):
        found["grouping"].extend(labels_of(node.modifier))
        walk(node.expr, found)
        walk(node.param, found)
    elif isinstance(node, promql.Call):
        for argument in node.args:
            walk(argument, found)
    elif isinstance(node, (promql.ParenExpr, promql.UnaryExpr, promql.SubqueryExpr)):
        walk(node.expr, found)
    elif not isinstance(node, (promql.NumberLiteral, promql.StringLiteral)):
        sys.exit(f"{type(node).__name__} is not known here")


answers = []
for text in json.load(sys.stdin):
    asked = {"selectors": [], "grouping": []}
    try:
        walk(promql.parse(text), asked)
    except ValueError as error:
        sys.exit(f"{text}\n{error}")
    answers.append(asked)
json.dump(answers, sys.stdout)

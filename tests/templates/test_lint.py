"""cfn-lint on every template and addon."""

import unittest

import linting
import support


class Lint(unittest.TestCase):
    maxDiff = None

    def test_every_template_and_addon_is_clean(self):
        self.assertEqual(linting.lint(support.templates()), [])


if __name__ == "__main__":
    unittest.main()

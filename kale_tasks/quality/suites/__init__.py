"""The built-in suites of checks, one module per table."""

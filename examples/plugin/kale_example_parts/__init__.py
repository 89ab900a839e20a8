"""Example parts for KALE: a rule, an engine, a suite of checks, a release format and a release target."""

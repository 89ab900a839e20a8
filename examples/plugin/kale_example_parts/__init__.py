"""Example parts for KALE: a rule, an engine, a release format and a release target."""

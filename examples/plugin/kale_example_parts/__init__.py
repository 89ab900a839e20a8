"""Example parts for KALE: one each of rule, engine, expert, scorer, suite of checks, release format and target."""

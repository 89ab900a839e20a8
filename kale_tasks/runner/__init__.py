"""Runs a step on a key: plan, work, commit; the ledger and the status of what was run."""

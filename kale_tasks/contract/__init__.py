"""What a step is: its parts, chunks and plan, its fingerprint, and the registry of steps."""

"""Random operations on a small lake by real processes, and the bugs that they must find."""

"""A rehearsal of the published run: stand-ins of the real sizes, the workflow on them, and what was measured beside what was planned."""

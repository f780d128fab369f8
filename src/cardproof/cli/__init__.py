"""One file a room, one verb a rule: options, and nothing else."""

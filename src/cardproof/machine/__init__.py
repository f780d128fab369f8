"""What a run needs, and whether this machine or cluster has it."""

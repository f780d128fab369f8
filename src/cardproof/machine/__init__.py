"""What a run will take, and whether this machine or cluster has it."""

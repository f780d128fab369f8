"""From prompts to rollouts, whichever engine."""

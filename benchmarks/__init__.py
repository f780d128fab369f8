"""What the project does, timed beside what a user would do instead; ratios taken in one run, never tests."""

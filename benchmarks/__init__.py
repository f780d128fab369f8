"""Times the project against what a user would run instead. These are ratios within one run, not tests."""

"""From the table to the five result files, each number with its interval."""

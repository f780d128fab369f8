"""The published card: as data, against itself, against a run."""

"""The settings: their model, reading them from files, and describing them."""

"""The settings: their model, how files become one, and how one is told."""

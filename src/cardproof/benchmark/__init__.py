"""Questions and passages, their split, and the prompts built from them."""

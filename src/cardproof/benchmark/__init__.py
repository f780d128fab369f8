"""Questions and passages, their split, and the prompts made of them."""

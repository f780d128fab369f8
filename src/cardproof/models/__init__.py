"""A language model in memory: sizes, tokens, NF4, loading."""

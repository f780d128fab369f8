"""A language model: what it is, its conversations, sizes, NF4, loading."""

"""From scored candidates to examples, from examples to an adapter."""

"""P(entailed) of an answer: the model, its training, its check."""

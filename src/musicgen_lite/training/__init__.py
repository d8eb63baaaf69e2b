"""Training: stores of tokens and text in, a checked model file and its curves out (`training.fit.fit`)."""

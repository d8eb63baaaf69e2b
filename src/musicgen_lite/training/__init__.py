"""Training: stores of tokens and text in, a checked model file and its curves out (`training.fit.fit`)."""

from musicgen_lite.errors import require

require("lightning", extra="pipeline", purpose="training")

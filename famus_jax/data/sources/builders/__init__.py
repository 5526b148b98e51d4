"""tfds builders of ours. Each file imports tfds; import it only where a builder is needed."""

"""A run that is killed again and again must leave the same files as one that is not."""

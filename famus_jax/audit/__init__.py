"""`famus audit`: from noisy data to a list of label issues, a page; mended data."""

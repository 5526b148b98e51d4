"""`famus audit`: from noisy data to a list of label issues, a page to look through them, mended data."""

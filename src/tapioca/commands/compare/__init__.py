"""Several criteria on the same data."""

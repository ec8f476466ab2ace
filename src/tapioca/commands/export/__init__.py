"""A plan as an ordinary checkpoint."""

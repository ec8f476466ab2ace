"""A plan becomes an ordinary checkpoint that needs none of this code."""

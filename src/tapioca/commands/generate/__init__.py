"""Write under a plan."""

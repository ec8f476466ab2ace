"""Search a plan and judge it on held-out data."""

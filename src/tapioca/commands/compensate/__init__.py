"""Make up for what the plan of a finished run drops, and judge it again."""

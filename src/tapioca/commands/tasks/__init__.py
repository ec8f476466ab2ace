"""Which tasks are ready, and what one asks."""

"""From measured cells to verdicts."""

"""What a study measured, and what follows from it."""

"""What can be done with a model."""

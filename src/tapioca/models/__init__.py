"""Find, touch and read a model's layers."""

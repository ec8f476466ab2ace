"""What inputs are to a model, before any search."""

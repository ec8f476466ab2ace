"""Any two models on the same held-out rows."""

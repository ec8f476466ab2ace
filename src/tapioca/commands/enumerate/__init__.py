"""Every plan of a small model."""

"""Measuring what a study asks for, and concluding."""

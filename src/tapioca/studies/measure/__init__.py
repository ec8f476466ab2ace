"""Measuring what a study asks for, model by model."""

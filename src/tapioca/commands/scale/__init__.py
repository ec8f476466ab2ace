"""Residual scaling of a plan's layers."""

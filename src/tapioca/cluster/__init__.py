"""Batches worked on by other processes, here or on other machines: who gets which, and what becomes of those that are lost."""

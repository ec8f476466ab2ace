"""The commands; each parses, calls one recipe, and prints."""

"""Many plans in one pass over the layers, and the texts they write together."""

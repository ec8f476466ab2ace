"""Arrays in, numbers out: the norm and pairwise-distance profiles, and how far two of them differ."""

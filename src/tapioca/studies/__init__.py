"""A study: claims with their rules, models and data in; measured cells, verdicts and a page out."""

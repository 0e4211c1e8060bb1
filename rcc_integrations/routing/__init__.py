"""Which windows a question needs, and where an answer stands in the texts."""

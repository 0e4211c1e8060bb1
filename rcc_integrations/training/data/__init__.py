"""Training data: composed documents, tasks over real text, and data of one's own."""

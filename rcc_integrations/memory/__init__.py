"""The store: memories, texts and their index in one folder. Knows nothing of models and tokenizers."""

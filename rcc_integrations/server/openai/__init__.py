"""OpenAI's HTTP interfaces over collections."""

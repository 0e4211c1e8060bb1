"""Programs that print the figures in the README and in docs/."""

"""Asking and adding: `RCCReader` and its parts."""

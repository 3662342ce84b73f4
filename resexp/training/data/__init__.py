"""Data sets: embedded, made by a recipe, or read from the user's own files; all as tensors in memory."""

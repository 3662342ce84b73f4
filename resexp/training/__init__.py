"""Trained networks: data sets, one fit loop, several networks side by side, checkpoints."""

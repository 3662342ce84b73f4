"""Closed forms, in numpy and math alone. Imports nothing of ours, so that a formula and its simulation share no bug."""

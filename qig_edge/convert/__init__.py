"""Conversion of checkpoints to files that devices run: names, recipes of types, writers, and verification of what was written."""

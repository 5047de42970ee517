"""Graded reasoning problems, written by a generator: seven families, five levels of difficulty, train and test without a common instance."""

"""Measuring what a model can do and whether it knows it: problem suites, their scoring, and the statistics behind the numbers."""

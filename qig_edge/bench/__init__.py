"""Measuring: the qig program run as a process of its own, rows that can be compared, random models of a preset's shape."""

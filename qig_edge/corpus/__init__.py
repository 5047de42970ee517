"""A seeded generator of a small training corpus: short tales, short conversations and plain facts."""

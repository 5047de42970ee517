"""What each component is worth: the same training with and without it, in one table."""

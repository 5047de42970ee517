"""Jarvis without torch: the model in NumPy, its training, its files (.npz and GGUF) and its vocabulary of words."""

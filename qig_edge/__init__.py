"""qig-edge: language models with geometric attention for small computers."""

__version__ = "0.1.0"

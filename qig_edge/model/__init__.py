"""The torch model: the reference that every other executor is held to. One file a component; kernel.py assembles them."""

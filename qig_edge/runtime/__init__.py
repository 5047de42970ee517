"""What runs a model: the Backend protocol, the native back end over libqig, chat sessions, the shipped model."""

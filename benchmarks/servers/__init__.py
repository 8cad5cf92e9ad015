"""The servers that are compared: what they are, where they are installed, how they run."""

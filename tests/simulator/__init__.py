"""The simulated gateway, byte by byte: what the wire notes say a gateway does, it does."""

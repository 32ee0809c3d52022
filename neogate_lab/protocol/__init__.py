"""The wire as a pure core: bytes in, values out. No asyncio, sockets, clock or pandas here."""

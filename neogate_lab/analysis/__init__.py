"""Recorded tables turned into answers and pictures; never a gateway, and nothing is recorded."""

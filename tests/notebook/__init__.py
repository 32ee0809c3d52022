"""Tests of the panels, of nested loops, and of both in real kernels and in a real browser."""

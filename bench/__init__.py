"""Benchmarks: one table of what a user feels, measured on real meshes of this machine. Does IO; nothing imports it."""

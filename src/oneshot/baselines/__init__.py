"""Baselines: one file a method, each spending the same run cost as the one-shot arm."""

"""Data sets and loaders: behaviours, splits, lazy windows, length buckets."""

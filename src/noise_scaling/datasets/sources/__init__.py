"""Loaders of the registered data sets, by source."""

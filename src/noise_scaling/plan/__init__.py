"""Planning a measurement: what cells and depth buy for a budget, from measured tables."""

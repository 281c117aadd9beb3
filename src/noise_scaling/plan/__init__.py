"""Planning a measurement: which numbers of cells and depths a budget buys, from measured tables."""

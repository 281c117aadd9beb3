"""Measuring: a configuration's grid and jobs, the units of a run, and its rows. `run.measure` is the way in."""

"""Figures and tables of the book, one module per page: functions of a measurements table that `page.show` displays.

Throughout, `table` is a measurements table (columns as in `measurements.COLUMNS`), information is in bits, and depth in
UMIs per cell. A function raises `TooLittle` if the table holds too few data for it; every `*_figure` returns a Figure.
"""

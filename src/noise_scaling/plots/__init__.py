"""The book's figures and tables, a module a page: functions of a measurements table, which `page.show` shows.

Throughout, `table` is a measurements table (columns as `measurements.COLUMNS`), bits are in bits and depths in UMIs per
cell. A function raises `TooLittle` where the table holds too little for it; every `*_figure` returns a Figure.
"""

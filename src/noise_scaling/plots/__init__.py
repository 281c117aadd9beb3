"""The book's figures and tables, a module a page: functions of a measurements table, which `page.show` shows."""
